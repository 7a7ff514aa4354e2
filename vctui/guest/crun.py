"""crun, the OCI runtime. Each start of it takes a tenth of a second of emulated time, so it is
started for making a container, for adding a process to one, and for removing one, for nothing else.

It is executed from a sealed copy in memory: crun makes and executes such a copy of itself
otherwise, each time, to keep containers from writing to it (CVE-2019-5736).

In a guest that is going to be saved, the crun of its first container is started before it is
saved, and waits for the container's document: loading itself is a quarter of what it does.

A process that crun starts detached becomes ours when crun ends, as we are PID 1. Whether its
program was executed then, crun does not tell for every kind of failure. We find out: a descriptor
that is closed on execution says when to look, the kernel's "forked but did not execute" flag says
what happened.
"""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest import plainfile
from vctui.guest.awaited import MOST, Awaited
from vctui.guest.loop import READ, Future
from vctui.guest.process import Pipes
from vctui.guest.timeline import now
from vctui.linux.ioctls import sealed_copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vctui.guest.children import Children, Exit
    from vctui.guest.config import Config
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.process import Process
    from vctui.guest.timeline import Timeline

_EXECUTE_PATIENCE = 10.0
"""Seconds between crun's end and the execution of the program."""
_LOOK_AGAIN = 0.002
_MAX_ERROR = 4096
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_SIGKILL = 9
_FIRST = "_first"
"""What crun knows the container by whose id was not known when it was started; no container has
such an id (sandbox.check_id)."""


class Crun:
    def __init__(
        self, loop: Loop, children: Children, config: Config, log: Log, timeline: Timeline
    ) -> None:
        self._loop = loop
        self._timeline = timeline
        self._children = children
        self._config = config
        self._log = log
        self._scratch = f"{config.run}/launch"
        self._count = 0
        self._copy = -1
        self._no_pivot: bool | None = None
        self._waiting: _Waiting | None = None
        self._names: dict[str, str] = {}
        """Containers that crun knows by another name than we do."""

    async def run(self, process: Process, container_id: str, bundle: str, program: str) -> None:
        """Make the container of a bundle and start its first process.

        Raises:
            AgentError: nothing is left of it then.
        """
        try:
            if not await self._use_waiting(process, container_id, bundle, program):
                command = self.run_command(bundle)
                await self._launch(process, command, [container_id], program)
        except AgentError:
            await self.delete(container_id)
            raise

    def prepare(self) -> Callable[[], bool]:
        """Start the crun of a container whose document comes later.

        Gives what tells whether it has come to where it waits, or to its end.

        Raises:
            OSError: it cannot be started.
        """
        bundle = f"{self._config.run}/bundles/{_FIRST}"
        os.makedirs(bundle, mode=0o700)
        document = Awaited(f"{bundle}/config.json")
        pipes = Pipes()
        launch = self._begin(self.run_command(bundle), [_FIRST], pipes.theirs, None)
        self._waiting = _Waiting(launch, pipes, document)
        return lambda: document.opened(self._config.proc, launch.pid, launch.ended)

    async def _use_waiting(
        self, process: Process, container_id: str, bundle: str, program: str
    ) -> bool:
        """Give the container to the crun that waits; False where none does, or not for such a one.

        It reads the document twice: to follow it, and to keep a copy.
        """
        waiting = self._waiting
        if waiting is None or process.terminal or waiting.launch.ended.done:
            return False
        document = plainfile.read(f"{bundle}/config.json", MOST + 1)
        if len(document) > MOST or b'"hooks":' in document:  # they are told its name
            return False
        self._waiting = None
        self._names[container_id] = _FIRST
        self._log.debug(f"container {container_id} is of the crun that waited")
        process.take_pipes(waiting.pipes)
        self._children.launching()
        try:
            os.rename(f"{bundle}/config.json", waiting.document.path)
            waiting.document.write(document)
            await self._finish(waiting.launch, process, program)
        except OSError as error:
            raise AgentError(f"crun did not start {program}: {error}") from error
        finally:
            self._children.launched()
            _remove(waiting.document.path)
        return True

    def run_command(self, bundle: str) -> list[str]:
        """What starts the container of a bundle, but for its id."""
        if self._no_pivot is None:
            mountinfo = plainfile.read(f"{self._config.proc}/self/mountinfo")
            self._no_pivot = root_cannot_pivot(mountinfo.decode(errors="replace"))
        return ["run", "--detach", "--bundle", bundle, *(("--no-pivot",) if self._no_pivot else ())]

    async def exec(
        self, process: Process, container_id: str, process_file: str, program: str
    ) -> None:
        """Start a further process, described by an OCI process document.

        Raises:
            AgentError: it could not be started.
        """
        command = ["exec", "--detach", "--process", process_file]
        name = self._names.get(container_id, container_id)
        await self._launch(process, command, [name], program)

    async def delete(self, container_id: str) -> None:
        """Remove what crun knows of a container; one that it does not know is no error."""
        name = self._names.pop(container_id, container_id)
        begin = now()
        if said := await self.call("delete", "--force", name):
            self._log.warning(f"crun delete {container_id}: {said}")
        self._timeline.add("crun delete", begin)

    async def call(self, *words: str) -> str:
        """Have crun do something that leaves no process to us; gives what it said if it failed.

        Raises:
            OSError: it cannot be started.
        """
        errors = self._scratch_path("log")
        _, ended = self._spawn(list(words), errors, _no_streams())
        exit_: Exit = await ended
        try:
            return (_take(errors) or f"it ended with {exit_.code}") if exit_.code else ""
        finally:
            _remove(errors)

    async def _launch(
        self, process: Process, command: list[str], arguments: list[str], program: str
    ) -> None:
        console = None
        if process.terminal:
            console = Console(self._scratch_path("sock"))
            command += ["--console-socket", console.path]
            streams = _no_streams()
        else:
            pipes = Pipes()
            process.take_pipes(pipes)
            streams = pipes.theirs
        self._children.launching()
        try:
            launch = self._begin(command, arguments, streams, console)
            await self._finish(launch, process, program)
        except OSError as error:
            raise AgentError(f"crun did not start {program}: {error}") from error
        finally:
            self._children.launched()
            if console is not None:
                console.close()

    def _begin(
        self, command: list[str], arguments: list[str], streams: list[int], console: Console | None
    ) -> _Launch:
        """Start a crun that is to make a process.

        Args:
            streams: the process's descriptors from 0 on, which are closed here.
        """
        errors, pid_file = self._scratch_path("log"), self._scratch_path("pid")
        gate, gate_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        command = [*command, "--pid-file", pid_file, *arguments]
        try:
            pid, ended = self._spawn(command, errors, [*streams, gate_end])
        except OSError:
            os.close(gate)
            raise
        return _Launch(command[0], errors, pid_file, gate, pid, ended, console)

    async def _finish(self, launch: _Launch, process: Process, program: str) -> None:
        """Wait for crun, and for the process to execute its program. Between `Children.launching`
        and `launched`.

        Raises:
            AgentError: it did not come to that.
        """
        pid = 0
        begin = now()
        try:
            exit_: Exit = await launch.ended
            self._timeline.add(f"crun {launch.word}", begin)
            if exit_.code:
                raise _failure(launch, process, program)
            pid = int(plainfile.read(launch.pid_file))
            ended = self._children.adopt(pid)
            if launch.console is not None:
                process.take_terminal(launch.console.receive())
            await self._executed(pid, ended, launch.gate)
            if ended.done and not ended.result().executed:
                raise _failure(launch, process, program)
            process.started(pid, ended)
        except (OSError, ValueError) as error:
            if pid:
                os.kill(pid, _SIGKILL)
            raise AgentError(f"crun did not start {program}: {error}") from error
        finally:
            os.close(launch.gate)
            _remove(launch.errors)
            _remove(launch.pid_file)

    async def _executed(self, pid: int, ended: Future, gate: int) -> None:
        """Return when the process has executed its program or has ended.

        Args:
            gate: ends with the execution: crun marks its descriptors from 3 on to be closed then.
        """
        opened = Future()
        timer = self._loop.later(_EXECUTE_PATIENCE, opened.succeed)
        self._loop.watch(gate, READ, opened.succeed)
        try:
            await opened
        finally:
            self._loop.unwatch(gate)
        waited = 0.0
        while not ended.done and not self._children.executed(pid) and waited < _EXECUTE_PATIENCE:
            await self._loop.sleep(_LOOK_AGAIN)
            waited += _LOOK_AGAIN
        timer.cancel()

    def _spawn(self, command: list[str], errors: str, theirs: list[int]) -> tuple[int, Future]:
        """Start crun with these descriptors from 0 on, which are closed here; its pid and end."""
        try:
            if self._copy < 0:
                self._copy = sealed_copy(self._config.crun)
            argv = ["crun", "--cgroup-manager=cgroupfs", f"--log={errors}", *command]
            path = f"/proc/self/fd/{self._copy}"
            fds = dict(enumerate(theirs))
            return self._children.spawn(path, argv, _ENVIRONMENT, fds)
        finally:
            for fd in theirs:
                os.close(fd)

    def _scratch_path(self, kind: str) -> str:
        if not self._count:
            os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        self._count += 1
        return f"{self._scratch}/{self._count}.{kind}"


class _Launch:
    """A crun that makes a process, and what it was given."""

    def __init__(
        self,
        word: str,
        errors: str,
        pid_file: str,
        gate: int,
        pid: int,
        ended: Future,
        console: Console | None,
    ) -> None:
        self.word = word
        self.errors = errors
        self.pid_file = pid_file
        self.gate = gate
        """Ends when the process executes its program."""
        self.pid = pid
        """crun's own."""
        self.ended = ended
        self.console = console


class _Waiting:
    """A crun that reads its container's document, which nobody has written yet."""

    def __init__(self, launch: _Launch, pipes: Pipes, document: Awaited) -> None:
        self.launch = launch
        self.pipes = pipes
        self.document = document


class Console:
    """The socket that crun sends the master side of a new terminal to."""

    def __init__(self, path: str) -> None:
        import _socket  # what the much larger `socket` wraps

        self.path = path
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.setblocking(False)

    def receive(self) -> int:
        """The descriptor; crun has sent it before it ends.

        Raises:
            OSError: none was sent.
        """
        import _socket

        fd, _ = self._listener._accept()  # type: ignore[attr-defined] # noqa: SLF001
        sender = _socket.socket(fileno=fd)
        try:
            sender.setblocking(False)
            flags = _socket.MSG_CMSG_CLOEXEC
            _, controls, _, _ = sender.recvmsg(1024, _socket.CMSG_SPACE(4), flags)
        finally:
            sender.close()
        for level, kind, data in controls:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS) and len(data) >= 4:
                return int.from_bytes(data[:4], "little")
        raise OSError("crun sent no terminal")

    def close(self) -> None:
        self._listener.close()
        _remove(self.path)


def root_cannot_pivot(mountinfo: str) -> bool:
    """Whether pivot_root(2) refuses our root, because it is mounted on nothing.

    Args:
        mountinfo: text of /proc/self/mountinfo: a mount's id, its parent's, device, root, point.
    """
    roots = [fields for fields in map(str.split, mountinfo.splitlines()) if fields[4:5] == ["/"]]
    return bool(roots) and roots[-1][0] == roots[-1][1]


def _failure(launch: _Launch, process: Process, program: str) -> AgentError:
    from vctui.guest.failure import failure

    return failure(_take(launch.errors) or process.last_words(), program)


def _no_streams() -> list[int]:
    return [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) for _ in range(3)]


def _take(path: str) -> str:
    try:
        return plainfile.read(path, _MAX_ERROR).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
