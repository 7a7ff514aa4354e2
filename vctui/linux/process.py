"""Start processes that outlive us, run short commands, and end exactly the process that is meant.

A process is named by its pid *and* its start time, as a pid alone may be given again.
Signals go through a pidfd that was opened before the start time was compared.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_REMEMBERED_EXITS: Final = 256
_KILL_PATIENCE: Final = 10.0
"""Seconds for a process to go after SIGKILL; one in uninterruptible sleep may take long."""
_OUTPUT_PATIENCE: Final = 0.5
"""Seconds for the outputs of a process that was killed to close."""
_LOOKS: Final = 1000
"""Times, a thousandth of a second apart, that a program is given to begin."""

File = int | IO[bytes] | None
"""What a standard stream is connected to; None is /dev/null."""


class Spawned(msgspec.Struct, frozen=True):
    """A process, so that it cannot be mistaken for another one."""

    pid: int
    started: float
    """Seconds since boot."""


class Completed(msgspec.Struct, frozen=True):
    """What a short command left behind."""

    returncode: int
    """Exit status, or minus the signal's number."""
    stdout: bytes
    stderr: bytes


def spawn_detached(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: File = None,
    stdout: File = None,
    stderr: File = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
    cwd: str | os.PathLike[str] = "/",
) -> Spawned:
    """Start `argv` in a session of its own; it lives on when we end.

    Descriptors in `pass_fds` keep their numbers there, all others are closed.
    While we live, a thread of ours reaps it, so that no zombie is left in a long-lived console.

    Raises:
        OSError: the program cannot be executed.
    """
    child = subprocess.Popen(
        [os.fspath(argument) for argument in argv],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.DEVNULL if stdout is None else stdout,
        stderr=subprocess.DEVNULL if stderr is None else stderr,
        env=None if env is None else dict(env),
        pass_fds=tuple(pass_fds),
        cwd=cwd,
        start_new_session=True,
    )
    spawned = Spawned(child.pid, start_time(child.pid))
    _reaper.adopt(child, spawned)
    return spawned


async def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: bytes = b"",
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    executable: str | None = None,
    keep: int | None = None,
) -> Completed:
    """Run a command to its end and take what it writes.

    Args:
        executable: the program, where that is not the first of `argv`.
        keep: bytes of each output, its last, that are given; None: all.

    It is killed with its children when it takes longer than `timeout` seconds, or when we are
    cancelled.

    Raises:
        OSError: the program cannot be executed.
        TimeoutError: it was killed.
    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *(os.fspath(argument) for argument in argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            executable=executable,
        )
    )
    try:
        async with asyncio.timeout(timeout):
            # asyncio ends only the process itself, not its children, when it is cancelled here
            child = await asyncio.shield(starting)
            stdout, stderr = await _communicate(child, stdin, keep)
    except BaseException:
        child = await starting
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
        with suppress(TimeoutError):  # whom it has sent away may hold its outputs
            async with asyncio.timeout(_OUTPUT_PATIENCE):
                await _communicate(child, b"", keep=1)
        raise
    return Completed(child.returncode or 0, stdout, stderr)


async def _communicate(
    child: asyncio.subprocess.Process, stdin: bytes, keep: int | None
) -> tuple[bytes, bytes]:
    stdout, stderr = child.stdout, child.stderr
    if keep is None or stdout is None or stderr is None:
        return await child.communicate(stdin or None)
    _, said, complained, _ = await asyncio.gather(
        _feed(child, stdin), _last(stdout, keep), _last(stderr, keep), child.wait()
    )
    return said, complained


async def _feed(child: asyncio.subprocess.Process, stdin: bytes) -> None:
    if child.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read what we say
        child.stdin.write(stdin)
        await child.stdin.drain()
        child.stdin.close()
        await child.stdin.wait_closed()


async def _last(stream: asyncio.StreamReader, keep: int) -> bytes:
    kept = b""
    while chunk := await stream.read(64 * 1024):
        kept = (kept + chunk)[-keep:]
    return kept


def start_time(pid: int) -> float:
    """When the process began, in seconds since boot (hundredths).

    Raises:
        ProcessLookupError: there is no such process.
    """
    return _stat(pid).started


def is_alive(pid: int, started: float) -> bool:
    """Whether this very process runs; a zombie does not."""
    try:
        stat = _stat(pid)
    except ProcessLookupError:
        return False
    return stat.started == started and not stat.ended


async def wait_end(pid: int, started: float) -> int | None:
    """Return when the process has ended.

    Gives its exit status (or minus the signal's number) if it was a child of ours, else None.
    """
    with _opened(pid, started) as pidfd:
        if pidfd is not None:
            await _readable(pidfd)
    return _reaper.exit_status(Spawned(pid, started))


async def terminate(pid: int, started: float, *, timeout: float) -> None:
    """SIGTERM, and SIGKILL after `timeout` seconds; return when it is gone. Idempotent.

    Raises:
        TimeoutError: it does not even go after SIGKILL (it hangs in the kernel).
    """
    with _opened(pid, started) as pidfd:
        if pidfd is None:
            return
        if timeout > 0:
            _send(pidfd, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await _readable(pidfd)
                    return
        _send(pidfd, signal.SIGKILL)
        async with asyncio.timeout(_KILL_PATIENCE):
            await _readable(pidfd)


def send(spawned: Spawned, number: signal.Signals) -> None:
    """Signal exactly this process; one that is gone is no error."""
    with _opened(spawned.pid, spawned.started) as pidfd:
        if pidfd is not None:
            _send(pidfd, number)


def find_by_argument(
    argument: str | os.PathLike[str], *, beside: Collection[str] = ()
) -> list[Spawned]:
    """Detached processes of our user one of whose arguments is `argument`, or a path below it.

    An argument may name the path as a URL does (`unix:///run/…`), or be an option with the path as
    its value (`--socket=/run/…`). All of `beside` must be among the arguments, too: the program
    itself, for instance.

    Only leaders of a session without a terminal, as `spawn_detached` makes them:
    an operator's `tail -f` of a log is none.
    """
    wanted = _plain(os.fsencode(argument))
    below = wanted.rstrip(b"/") + b"/"
    others = {_plain(os.fsencode(each)) for each in beside}
    found = []
    for pid, shown in _all_shown("cmdline"):
        words = shown.split(b"\0")
        arguments = {_plain(each) for each in words}
        arguments |= {_plain(each.partition(b"=")[2]) for each in words}
        if others.issubset(arguments) and any(
            each == wanted or each.startswith(below) for each in arguments
        ):
            with suppress(ProcessLookupError):
                stat = _stat(pid)
                if stat.detached:
                    found.append(Spawned(pid, stat.started))
    return found


def _all_shown(name: str) -> Iterator[tuple[int, bytes]]:
    """Each process of our user but us, with what it was given (`_shown`)."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.geteuid():
                continue
            shown = _shown(Path(entry.path, name))
        except OSError:  # it has ended while we looked
            continue
        yield int(entry.name), shown


def _shown(file: Path) -> bytes:
    """The arguments or the environment of a process, by its file below /proc. The kernel shows them
    a moment after the program has begun, and after whoever has started it is told so.

    Raises OSError."""
    for _ in range(_LOOKS):
        if text := file.read_bytes():
            return text
        if _has_begun(file.parent):
            return file.read_bytes()
        time.sleep(0.001)
    return b""


def _has_begun(process: Path) -> bool:
    """Whether all that the kernel will show of the process is there. It knows where the program's
    code is only after that; threads of its own, and what has ended, have no program."""
    return int(_fields(process)[23]) > 0 or not (process / "exe").exists()


def _plain(argument: bytes) -> bytes:
    return argument.removeprefix(b"unix://")


def find_by_environment(variables: Mapping[str, str]) -> list[Spawned]:
    """Processes of our user that were started with all these variables; their children too, as
    far as these were given the same ones."""
    wanted = {os.fsencode(f"{name}={value}") for name, value in variables.items()}
    found = []
    for pid, shown in _all_shown("environ"):
        if wanted <= set(shown.split(b"\0")):
            with suppress(ProcessLookupError):
                found.append(Spawned(pid, start_time(pid)))
    return found


class _Stat(NamedTuple):
    ended: bool
    """Nothing of it runs; only its parent has not asked yet."""
    started: float
    detached: bool


def _stat(pid: int) -> _Stat:
    """The facts that we need out of /proc/PID/stat (proc(5))."""
    if pid <= 0:
        raise ProcessLookupError(f"{pid} is no process")
    try:
        fields = _fields(Path(f"/proc/{pid}"))
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"there is no process {pid}") from None
    return _Stat(
        # its first thread may be a zombie while others still let go of what they hold
        ended=fields[0] in {b"Z", b"X"} and int(fields[17]) <= 1,
        started=int(fields[19]) / _TICKS_PER_SECOND,
        detached=int(fields[3]) == pid and int(fields[4]) == 0,
    )


def _fields(process: Path) -> list[bytes]:
    """Of its stat (proc(5)), from the third on. Raises OSError."""
    text = (process / "stat").read_bytes()
    return text[text.rindex(b")") + 2 :].split()  # the name before may hold anything


@contextmanager
def _opened(pid: int, started: float) -> Iterator[int | None]:
    """A pidfd of exactly this process, None if it is gone; of a zombie it is readable."""
    try:
        pidfd = os.pidfd_open(pid) if pid > 0 else None
    except ProcessLookupError:
        pidfd = None
    if pidfd is None:
        yield None
        return
    try:
        yield pidfd if _is_same(pid, started) else None
    finally:
        os.close(pidfd)


def _is_same(pid: int, started: float) -> bool:
    try:
        return _stat(pid).started == started
    except ProcessLookupError:
        return False


def _send(pidfd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


async def _readable(pidfd: int) -> None:
    """A pidfd becomes readable when its process ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)


class _Reaper:
    """Waits for the children that `spawn_detached` left running, all in one daemon thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: dict[int, tuple[subprocess.Popen[bytes], Spawned]] = {}
        self._statuses: OrderedDict[Spawned, int] = OrderedDict()
        self._poll: select.epoll | None = None

    def adopt(self, child: subprocess.Popen[bytes], spawned: Spawned) -> None:
        pidfd = os.pidfd_open(child.pid)
        with self._lock:
            self._children[pidfd] = (child, spawned)
            if self._poll is None:
                self._poll = select.epoll()
                watch = threading.Thread(
                    target=self._watch, args=(self._poll,), name="reaper", daemon=True
                )
                watch.start()
            self._poll.register(pidfd, select.EPOLLIN)

    def exit_status(self, spawned: Spawned) -> int | None:
        self._reap(only=spawned)
        with self._lock:
            return self._statuses.get(spawned)

    def _watch(self, poll: select.epoll) -> None:
        while True:
            poll.poll()
            self._reap()

    def _reap(self, only: Spawned | None = None) -> None:
        with self._lock:
            for pidfd, (child, spawned) in list(self._children.items()):
                if only not in {None, spawned} or child.poll() is None:
                    continue
                del self._children[pidfd]
                os.close(pidfd)  # takes it out of the epoll set too
                self._statuses[spawned] = child.returncode
                if len(self._statuses) > _REMEMBERED_EXITS:
                    self._statuses.popitem(last=False)


_reaper: Final = _Reaper()
