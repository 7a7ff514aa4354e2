"""One container: from its bundle to its removal."""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest import plainfile, spec
from vctui.guest.cgroup import Cgroup
from vctui.guest.document import dumps
from vctui.guest.loop import Future, TimedOut
from vctui.guest.process import Process
from vctui.guest.procfs import handles
from vctui.guest.users import identify
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from vctui.guest.config import Config
    from vctui.guest.crun import Crun
    from vctui.guest.firstgroup import FirstGroup
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop, Task
    from vctui.wire.pb import agent_pb2 as agent
else:
    from _collections import deque

SIGKILL = 9
SIGTERM = 15
_REMEMBERED = 256
"""Ended processes whose exit codes and last output are kept."""

CREATED, STARTING, RUNNING, PAUSED, STOPPED = "created", "starting", "running", "paused", "stopped"
_FREEZE_PATIENCE = 5.0
"""Seconds for the processes of a container to stand still or go on."""


class Container:
    """A container. Its first process goes by the container's own id (sheet §7).

    crun makes the container when it is started; creating it checks and writes its bundle.
    That saves a start of crun, and nobody can tell the difference but by where errors appear.
    """

    def __init__(
        self,
        loop: Loop,
        crun: Crun,
        config: Config,
        log: Log,
        request: agent.CreateContainerRequest,
    ) -> None:
        self._loop = loop
        self._crun = crun
        self._config = config
        self._log = log
        self.request = request
        self.id = request.container_id
        self.state = CREATED
        self.cgroup = Cgroup(config.cgroup, self.id)
        self.rootfs: str = request.OCI.root.Path
        self.mount_points: list[str] = []
        """Of its storages."""
        self.processes: dict[str, Process] = {}
        self._ended: deque[str] = deque()
        self._execs = 0
        self._end_memory_watch: Callable[[], None] | None = None
        self._settled = Future()
        """Done when `start` is."""
        self.creation: Task | None = None
        self.removal: Task | None = None
        self._bundle = f"{config.run}/bundles/{self.id}"
        self._held = -1
        """Its root folder, held until crun has it: on 9p, the kernel asks the host for each part of
        a path again, each time, but for parts that are in use."""
        self.init = Process(loop, self.id, terminal=request.OCI.process.Terminal)
        self.processes[self.id] = self.init

    def create(self, pid_namespace: str) -> None:
        """Check the specification and write the bundle.

        Raises:
            AgentError: it cannot be.
        """
        self._document(pid_namespace)
        try:
            self._held = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            raise AgentError(
                f"the root file system {self.rootfs} of {self.id} is no folder here"
            ) from None

    async def start(
        self,
        pid_namespace: str,
        out_of_memory: Callable[[], None],
        first_group: FirstGroup | None = None,
    ) -> None:
        """Have crun make it and start its first process.

        Args:
            first_group: a control group that is ready, for a container that it fits.

        Raises:
            AgentError: it was started already, or cannot be; then it has ended with 128.
        """
        if self.state != CREATED:
            raise AgentError(f"container {self.id} was started already")
        self.state = STARTING
        program = self.request.OCI.process.Args[0]
        try:
            if parameters := self.request.OCI.linux.Sysctl:
                from vctui.guest import sysctl

                sysctl.apply(parameters, self._config.proc)
            document = self._document(pid_namespace)
            if first_group is not None:
                self.cgroup = first_group.take(document) or self.cgroup
            self._write("config.json", dumps(document))
            await self._crun.run(self.init, self.id, self._bundle, program)
        except (AgentError, OSError) as error:
            self.state = STOPPED
            self.init.abandon(AgentError(f"container {self.id} was not started: {error}"))
            self._log.warning(f"container {self.id} was not started: {error}")
            raise
        finally:
            self._settled.succeed()
            self._let_go()
        self.state = RUNNING
        try:
            self._end_memory_watch = self.cgroup.watch_memory(self._loop, out_of_memory)
        except OSError as error:
            self._log.warning(f"container {self.id}: memory is not watched: {error}")
        self._log.info(f"container {self.id} runs {program} as {self.init.pid}")
        self.init.ended.then(self._stopped)

    async def exec(self, request: agent.ExecProcessRequest) -> None:
        """Start a further process.

        Raises:
            AgentError: the container does not run, the id is in use, it cannot be started.
        """
        exec_id = request.exec_id
        self._must_run("a process can be started in it")
        if not exec_id or exec_id in self.processes:
            raise AgentError(
                f"process id {exec_id!r} is empty or in use in container {self.id}",
                code=ttrpc.ALREADY_EXISTS,
            )
        identity = identify(request.process, request.string_user, self.rootfs)
        document = spec.process(request.process, identity=identity)
        process = Process(self._loop, exec_id, terminal=request.process.Terminal)
        self.processes[exec_id] = process
        self._execs += 1
        name = f"process-{self._execs}.json"
        try:
            path = self._write(name, dumps(document))
            await self._crun.exec(process, self.id, path, request.process.Args[0])
        except (AgentError, OSError) as error:
            del self.processes[exec_id]
            process.abandon(AgentError(f"process {exec_id} was not started: {error}"))
            self._log.debug(f"container {self.id}: process {exec_id} was not started: {error}")
            raise
        finally:
            _remove(f"{self._bundle}/{name}")
        process.ended.then(lambda _: self._remember(exec_id))

    def process(self, exec_id: str) -> Process:
        """
        Raises:
            AgentError: there is none of that id (any more).
        """
        try:
            return self.processes[exec_id or self.id]
        except KeyError:
            raise AgentError(
                f"there is no process {exec_id!r} in container {self.id}", code=ttrpc.NOT_FOUND
            ) from None

    def root(self) -> str:
        """Its root folder, with what is mounted below it for its processes.

        Raises:
            AgentError: it does not run.
        """
        self._must_run("its files can be reached")
        return f"{self._config.proc}/{self.init.pid}/root"

    def signal(self, exec_id: str, number: int) -> None:
        """Signal one process, or with SIGKILL and no id all of them; one that is gone is no error.

        Raises:
            AgentError: no such process id, or no such signal.
        """
        if not 0 < number < 65:
            raise AgentError(f"there is no signal {number}", code=ttrpc.INVALID_ARGUMENT)
        process = self.process(exec_id)
        if not exec_id and number == SIGKILL:
            self.kill()
            return
        if not process.pid or process.ended.done:
            return
        if process is self.init and number == SIGTERM:
            # the kernel keeps signals without a handler from the first process of a PID namespace
            number = SIGTERM if handles(process.pid, SIGTERM, self._config.proc) else SIGKILL
        _kill(process.pid, number)

    def signal_all(self, number: int) -> None:
        """Signal every process.

        Raises:
            AgentError: no such signal.
        """
        if not 0 < number < 65:
            raise AgentError(f"there is no signal {number}", code=ttrpc.INVALID_ARGUMENT)
        if number == SIGKILL:
            self.kill()
            return
        for pid in self.cgroup.pids():
            _kill(pid, number)

    def kill(self) -> None:
        if self.state in {RUNNING, PAUSED, STOPPED}:
            try:
                self.cgroup.kill()
            except FileNotFoundError:
                return

    async def pause(self) -> None:
        """
        Raises:
            AgentError: it does not run.
        """
        self._must_run("it can be paused")
        await self._freeze(frozen=True)
        if self.state == RUNNING:
            self.state = PAUSED

    async def resume(self) -> None:
        """
        Raises:
            AgentError: it is not paused.
        """
        if self.state != PAUSED:
            raise AgentError(
                f"container {self.id} is {self.state}, not paused", code=ttrpc.FAILED_PRECONDITION
            )
        await self._freeze(frozen=False)
        if self.state == PAUSED:
            self.state = RUNNING

    async def remove(self) -> None:
        """Kill what runs, and leave nothing."""
        if self.state == STARTING:
            await self._settled
        if self.state != CREATED:
            self.kill()
            for process in list(self.processes.values()):
                if process.pid:
                    await process.ended
            await self._crun.delete(self.id)
        self._let_go()
        gone = AgentError(f"container {self.id} was removed", code=ttrpc.NOT_FOUND)
        for process in self.processes.values():
            process.abandon(gone)
        for name in ("config.json", ""):
            _remove(f"{self._bundle}/{name}")

    def _document(self, pid_namespace: str) -> dict[str, Any]:
        request = self.request
        if not request.HasField("OCI"):
            raise AgentError("the request has no OCI specification", code=ttrpc.INVALID_ARGUMENT)
        identity = identify(request.OCI.process, request.string_user, self.rootfs or "/")
        return spec.container(
            request.OCI, identity=identity, cgroup=self.cgroup.name, pid_namespace=pid_namespace
        )

    def _write(self, name: str, text: str) -> str:
        os.makedirs(self._bundle, mode=0o700, exist_ok=True)
        path = f"{self._bundle}/{name}"
        plainfile.replace(path, text.encode())
        return path

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _must_run(self, wish: str) -> None:
        if self.state != RUNNING:
            raise AgentError(
                f"container {self.id} is {self.state}; it must run before {wish}",
                code=ttrpc.FAILED_PRECONDITION,
            )

    async def _freeze(self, *, frozen: bool) -> None:
        freezing = self._loop.start(self.cgroup.freeze(self._loop, frozen=frozen))
        try:
            await self._loop.within(_FREEZE_PATIENCE, freezing)
        except OSError as error:
            raise AgentError(f"container {self.id}: {error.strerror}") from error
        except TimedOut:
            freezing.cancel()
            if frozen:
                self.cgroup.thaw()
            what = "stand still" if frozen else "go on"
            raise AgentError(
                f"the processes of container {self.id} do not {what} after {_FREEZE_PATIENCE} s"
            ) from None

    def _stopped(self, ended: Future) -> None:
        self.state = STOPPED
        if self._end_memory_watch is not None:
            self._end_memory_watch()
        self._log.info(f"container {self.id} ended with {ended.result()}")
        self.kill()  # what its first process leaves behind in a shared PID namespace

    def _remember(self, exec_id: str) -> None:
        self._ended.append(exec_id)
        if len(self._ended) > _REMEMBERED:
            self.forget(self._ended.popleft())

    def forget(self, exec_id: str) -> None:
        """Let go of an ended process and of the output that nobody has read."""
        process = self.processes.pop(exec_id, None)
        if process is not None:
            process.close()


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _remove(path: str) -> None:
    try:
        os.rmdir(path) if path.endswith("/") else os.unlink(path)
    except FileNotFoundError:
        return
