"""crun, the OCI runtime. Each start of it takes a tenth of a second of emulated time, so it is
started for making a container, for adding a process to one, and for removing one, for nothing else.

It is executed from a sealed copy in memory: crun makes and executes such a copy of itself
otherwise, each time, to keep containers from writing to it (CVE-2019-5736).

A process that crun starts detached becomes ours when crun ends, as we are PID 1. Whether its
program was executed then, crun does not tell for every kind of failure. We find out: a descriptor
that is closed on execution says when to look, the kernel's "forked but did not execute" flag says
what happened.
"""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest.loop import READ, Future
from vctui.guest.timeline import now
from vctui.linux.ioctls import sealed_copy

TYPE_CHECKING = False
if TYPE_CHECKING:
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
_NOT_EXECUTABLE = (
    "open executable",
    "Exec format error",
    "exists but it is not executable",
    "is not a regular file",
)
"""How crun's versions say that there is something and that it is no program."""
_PERMISSION = ("permission denied", "operation not permitted")


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

    async def run(self, process: Process, container_id: str, bundle: str, program: str) -> None:
        """Make the container of a bundle and start its first process.

        Raises:
            AgentError: nothing is left of it then.
        """
        if self._no_pivot is None:
            with open(f"{self._config.proc}/self/mountinfo", encoding="utf-8") as file:
                self._no_pivot = root_cannot_pivot(file.read())
        command = ["run", "--detach", "--bundle", bundle]
        if self._no_pivot:
            command.append("--no-pivot")
        try:
            await self._launch(process, command, [container_id], program)
        except AgentError:
            await self.delete(container_id)
            raise

    async def exec(
        self, process: Process, container_id: str, process_file: str, program: str
    ) -> None:
        """Start a further process, described by an OCI process document.

        Raises:
            AgentError: it could not be started.
        """
        command = ["exec", "--detach", "--process", process_file]
        await self._launch(process, command, [container_id], program)

    async def warm_up(self) -> None:
        """Run it to no purpose, so that what it is made of is there."""
        errors = self._scratch_path("log")
        await self._run(["list"], errors, _no_streams())
        _remove(errors)

    async def delete(self, container_id: str) -> None:
        """Remove what crun knows of a container; one that it does not know is no error."""
        errors = self._scratch_path("log")
        exit_ = await self._run(["delete", "--force", container_id], errors, _no_streams())
        if exit_.code:
            self._log.warning(f"crun delete {container_id}: {_take(errors)}")
        _remove(errors)

    async def _launch(
        self, process: Process, command: list[str], arguments: list[str], program: str
    ) -> None:
        errors, pid_file = self._scratch_path("log"), self._scratch_path("pid")
        command += ["--pid-file", pid_file]
        console = None
        if process.terminal:
            console = Console(self._scratch_path("sock"))
            command += ["--console-socket", console.path]
        gate, gate_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        pid = 0
        self._children.launching()
        try:
            streams = _no_streams() if process.terminal else process.make_pipes()
            exit_ = await self._run([*command, *arguments], errors, [*streams, gate_end])
            if exit_.code:
                raise failure(_take(errors) or process.last_words(), program)
            with open(pid_file, encoding="ascii") as file:
                pid = int(file.read())
            ended = self._children.adopt(pid)
            if console is not None:
                process.take_terminal(console.receive())
            await self._executed(pid, ended, gate)
            if ended.done and not ended.result().executed:
                raise failure(_take(errors) or process.last_words(), program)
            process.started(pid, ended)
        except (OSError, ValueError) as error:
            if pid:
                os.kill(pid, _SIGKILL)
            raise AgentError(f"crun did not start {program}: {error}") from error
        finally:
            self._children.launched()
            if console is not None:
                console.close()
            os.close(gate)
            _remove(errors)
            _remove(pid_file)

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

    async def _run(self, command: list[str], errors: str, theirs: list[int]) -> Exit:
        """Run crun with these descriptors from 0 on, which are closed here."""
        begin = now()
        try:
            if self._copy < 0:
                self._copy = sealed_copy(self._config.crun)
            argv = ["crun", "--cgroup-manager=cgroupfs", f"--log={errors}", *command]
            path = f"/proc/self/fd/{self._copy}"
            fds = dict(enumerate(theirs))
            _, ended = self._children.spawn(path, argv, _ENVIRONMENT, fds)
        finally:
            for fd in theirs:
                os.close(fd)
        exit_: Exit = await ended
        self._timeline.add(f"crun {command[0]}", begin)
        return exit_

    def _scratch_path(self, kind: str) -> str:
        if not self._count:
            os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        self._count += 1
        return f"{self._scratch}/{self._count}.{kind}"


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


def failure(text: str, program: str) -> AgentError:
    """The error of a process that crun could not start.

    A command that does not exist and one that cannot be executed read as the Kata agent's do:
    hosts tell them by "executable file … not found" and "permission denied".
    """
    last = text.strip().splitlines()[-1][-_MAX_ERROR:] if text.strip() else "crun gave no reason"
    what = f"executable file `{program}`"
    if "executable file" in last and "not found" in last:
        return AgentError(f"{what} not found in $PATH")
    if "chdir" in last:
        return AgentError(f"the working directory cannot be entered: {last}")
    if any(sign in last for sign in _NOT_EXECUTABLE):
        reason = last.rpartition(": ")[2].lower()
        detail = "" if reason in _PERMISSION else f" ({reason})"
        return AgentError(f"{what}: permission denied{detail}")
    if "exec container process" in last or last.startswith("exec: "):
        return AgentError(f"{what} not found: the interpreter or loader that it names is missing")
    return AgentError(f"crun: {last}")


def _no_streams() -> list[int]:
    return [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) for _ in range(3)]


def _take(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_ERROR).strip()
    except FileNotFoundError:
        return ""


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
