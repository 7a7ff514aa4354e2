"""Child processes: started, adopted (who loses its parent in the guest becomes ours), reaped."""

from __future__ import annotations

import os

from vctui.guest import plainfile
from vctui.guest.loop import Future
from vctui.linux.ioctls import high_copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    from vctui.guest.loop import Loop
else:
    import _signal as signal

_PF_FORKNOEXEC = 0x40
_FLAGS = 6  # field of /proc/PID/stat, counted behind the name (proc(5): flags)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Exit:
    """How a process ended."""

    def __init__(self, status: int, *, executed: bool) -> None:
        code = os.waitstatus_to_exitcode(status)
        self.code = code if code >= 0 else 128 - code
        """As a shell gives it: 128+N for signal N."""
        self.executed = executed
        """Whether it had got as far as to execute its program."""


class Children:
    def __init__(self, loop: Loop, proc: str = "/proc") -> None:
        self._loop = loop
        self._proc = proc
        self._awaited: dict[int, Future] = {}
        self._unclaimed: dict[int, Exit] = {}
        self._launches = 0
        loop.watch_children(self._reap)

    def spawn(
        self, path: str, argv: list[str], env: Mapping[str, str], fds: Mapping[int, int]
    ) -> tuple[int, Future]:
        """Start a program; gives its pid and the future Exit.

        Args:
            fds: the child's descriptors → ours; the child has no others.

        Raises:
            OSError: the program cannot be executed.
        """
        # sources are moved out of the way of the targets first
        moved = {number: high_copy(fd) for number, fd in fds.items()}
        try:
            pid = os.posix_spawn(
                path,
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moved.items()],
                setsigdef=_IGNORED_BY_PYTHON,
                setsigmask=(),
            )
        finally:
            for fd in moved.values():
                os.close(fd)
        self._unclaimed.pop(pid, None)
        ended = self._awaited[pid] = Future()
        return pid, ended

    def launching(self) -> None:
        """A child of ours is about to leave us a process of its own: remember unknown ends
        until `launched`, as the process may end before we know its pid."""
        self._launches += 1

    def launched(self) -> None:
        self._launches -= 1
        if not self._launches:
            self._unclaimed.clear()

    def adopt(self, pid: int) -> Future:
        """The future Exit of a process whose parent, a child of ours, has ended."""
        ended = Future()
        if pid in self._unclaimed:
            ended.succeed(self._unclaimed.pop(pid))
        else:
            self._awaited[pid] = ended
        return ended

    def executed(self, pid: int) -> bool:
        """Whether a process that was forked has executed a program of its own."""
        try:
            text = plainfile.read(f"{self._proc}/{pid}/stat")
            return not int(text[text.rindex(b")") + 2 :].split()[_FLAGS]) & _PF_FORKNOEXEC
        except (OSError, ValueError, IndexError):
            return True

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            executed = self.executed(pid)  # a zombie still tells
            ended = Exit(os.waitpid(pid, 0)[1], executed=executed)
            future = self._awaited.pop(pid, None)
            if future is not None:
                self._loop.soon(future.succeed, ended)
            elif self._launches:
                self._unclaimed[pid] = ended
