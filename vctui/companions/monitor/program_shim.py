"""A shim that is a program of its own: kata-shim and cc-shim (proxies-and-shims sheet, §4, §5).

Its standard streams are the process's, its exit status is the process's, and it passes on the
signals that it gets. We hold the other ends of its streams.
"""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vctui.companions.monitor.standin import CHUNK, OnEnd, OnRenewed, StandIn
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import process, terminals
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile

_FAILED: Final = 1
"""What a shim exits with when it fails itself; a process may do so as well."""
_NOT_STARTED: Final = "it was not started"


class Family(ABC):
    """What differs between the programs."""

    can_follow = True
    """One may stand for a process that another one has stood for."""

    @property
    def has_way(self) -> bool:
        """Programs reach the agent; what they say of a process is true."""
        return True

    async def way_back(self) -> str:
        """Return when programs reach the agent again (""), or why they never will."""
        return ""

    async def prepare(self, start: monitor.StartShim) -> None:  # noqa: B027 - most need nothing
        """Get what the command line needs. Raises CallFailed."""

    @abstractmethod
    def argv(self, start: monitor.StartShim) -> Sequence[str]: ...

    @property
    def cut_off(self) -> str:
        """Why no program can tell the truth about its process any more; "" while it can."""
        return ""

    async def hopeless(self) -> None:
        """Return when no program can tell the truth any more, which it may not know for a while."""
        await asyncio.Event().wait()

    async def is_true(self, start: monitor.StartShim) -> bool:
        """Whether a status of 1 may be the process's, and not a program's that has failed."""
        return True

    async def end_former(self, start: monitor.StartShim) -> None:
        """End a program that stood for the process under a monitor before us."""
        program, *arguments = self.argv(start)
        for left in process.find_by_argument(program, beside=arguments):
            await process.terminate(left.pid, left.started, timeout=0)

    @abstractmethod
    async def resize(self, start: monitor.StartShim, size: monitor.Size) -> None:
        """Tell the guest of a size that the program may not have told it of."""

    @abstractmethod
    async def kill(self, start: monitor.StartShim) -> None:
        """End the process whose shim is no more, if it still runs."""


class ProgramShim(StandIn):
    """One running program, and the next where it has lost its way to the agent.

    Args:
        on_renewed: told of the process that stands for the guest's from now on.
    """

    def __init__(
        self,
        start: monitor.StartShim,
        *,
        family: Family,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
        on_renewed: OnRenewed,
    ) -> None:
        super().__init__(start, log=log, replay_bytes=replay_bytes, on_end=on_end)
        self._family = family
        self._on_renewed = on_renewed
        self._streams: list[tuple[int, int]] = []
        """Descriptors that are read, each with the stream it is."""
        self._stdin = -1
        self._standing = asyncio.Event()
        """There is a program that is not to be replaced."""
        self._input_has_ended = False
        self._size: monitor.Size | None = None
        self._abandoned = False
        self._begin(family.argv(start))

    @property
    def pid(self) -> int:
        return self._program.pid

    def abandon(self) -> None:
        self._abandoned = True
        process.send(self._program, signal.SIGKILL)

    def cut_off(self) -> None:
        """Before it comes back to the agent, where it would only wait for the process, and so have
        the agent forget how that ended and what it has said (kata-agent gRPC sheet, §10.4)."""
        if self._family.can_follow and not self._abandoned:
            self._standing.clear()
            process.send(self._program, signal.SIGKILL)

    def leave(self) -> None:
        """The program goes too: nobody holds the other ends of its streams any more."""
        process.send(self._program, signal.SIGKILL)
        self._close()

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            await self._standing.wait()
            if self._stdin < 0:
                raise CallFailed(ttrpc.FAILED_PRECONDITION, "the process takes no input")
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await _ready(self._stdin, writing=True)
            except OSError as error:
                if self._standing.is_set():
                    raise CallFailed(ttrpc.FAILED_PRECONDITION, "the process has ended") from error

    async def resize(self, size: monitor.Size) -> None:
        self._size = size
        if self.start.terminal and self._stdin >= 0:
            terminals.set_size(self._stdin, size.rows, size.columns)
            process.send(self._program, signal.SIGWINCH)
            await self._family.resize(self.start, size)

    async def close_stdin(self) -> None:
        if not self.start.terminal:  # a terminal has no end
            self._input_has_ended = True
            self._close_stdin()

    async def _stand(self) -> monitor.Exit:
        try:
            while True:
                status = await self._see_to_its_end()
                if not self._has_lost_its_way(status):
                    return await self._tell(status)
                if why := await self._renew():
                    return monitor.Exit(None, why)
        finally:
            self._standing.set()  # whoever types learns that nobody takes it

    async def _see_to_its_end(self) -> int | None:
        reading = asyncio.gather(*(self._read(fd, stream) for fd, stream in self._streams))
        cutting = asyncio.create_task(self._end_when_cut_off())
        try:
            status = await process.wait_end(self._program.pid, self._program.started)
            if self._has_lost_its_way(status):
                self._standing.clear()
            await self._read_rest(reading)
        finally:
            for task in (reading, cutting):
                task.cancel()
            await asyncio.gather(reading, cutting, return_exceptions=True)
            self._close()
        return status

    def _has_lost_its_way(self, status: int | None) -> bool:
        """Its exit status is its own, not the process's."""
        if self._abandoned or not self._family.can_follow:
            return False
        if status == _FAILED and not self._family.has_way:
            return True
        return not self._standing.is_set() and status in {None, _FAILED, -signal.SIGKILL}

    async def _renew(self) -> str:
        """Have another program stand for the process; gives why that is impossible."""
        if why := await self._family.way_back():
            return why
        if self._abandoned:
            return _NOT_STARTED
        try:
            self._begin(self._family.argv(self.start))
        except CallFailed as error:
            return error.message
        await self._on_renewed(self.start, self.pid)
        return ""

    async def _tell(self, status: int | None) -> monitor.Exit:
        if self._abandoned:
            return monitor.Exit(None, _NOT_STARTED)
        if status is None or status < 0 or status == _FAILED:
            if why := self._family.cut_off:
                return monitor.Exit(None, why)
            await self._family.kill(self.start)
        if status == _FAILED and not await self._family.is_true(self.start):
            return monitor.Exit(None, f"its shim (process {self._program.pid}) failed")
        if status is None or status < 0:
            how = f"was killed by signal {-status}" if status else "went away"
            return monitor.Exit(None, f"its shim (process {self._program.pid}) {how}")
        return monitor.Exit(status)

    async def _end_when_cut_off(self) -> None:
        await self._family.hopeless()
        process.send(self._program, signal.SIGKILL)

    def _begin(self, argv: Sequence[str]) -> None:
        """Raises CallFailed."""
        if self.start.terminal:
            ours, theirs = terminals.open_pair()
            self._stdin, self._streams = ours, [(ours, monitor.STDOUT)]
            ends = (theirs, theirs, theirs)
            if self._size is not None:
                terminals.set_size(ours, self._size.rows, self._size.columns)
        else:
            stdin, self._stdin = os.pipe2(os.O_CLOEXEC)
            stdout, stderr = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
            self._streams = [(stdout[0], monitor.STDOUT), (stderr[0], monitor.STDERR)]
            ends = (stdin, stdout[1], stderr[1])
        for fd in {self._stdin, *(fd for fd, _ in self._streams)}:
            os.set_blocking(fd, False)
        try:
            self._program = process.spawn_detached(
                argv, stdin=ends[0], stdout=ends[1], stderr=ends[2]
            )
        except OSError as error:
            self._close()
            raise CallFailed(
                ttrpc.FAILED_PRECONDITION,
                f"the shim {argv[0]} of container {self.start.container_id!r} cannot be started: "
                f"{error.strerror}; see to shim_config.path",
            ) from error
        finally:
            for fd in set(ends):
                os.close(fd)
        if self._input_has_ended:
            self._close_stdin()
        self._standing.set()

    async def _read(self, fd: int, stream: int) -> None:
        while True:
            try:
                data = os.read(fd, CHUNK)
            except BlockingIOError:
                await _ready(fd)
                continue
            except OSError:  # a terminal that nobody has open
                return
            if not data:
                return
            await self._publish(stream, data)

    def _close_stdin(self) -> None:
        fd, self._stdin = self._stdin, -1
        if fd >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_writer(fd)
            os.close(fd)

    def _close(self) -> None:
        for fd, _ in self._streams:
            if fd != self._stdin:
                os.close(fd)
        self._streams = []
        self._close_stdin()


async def _ready(fd: int, *, writing: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    watch, forget = (
        (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    )
    watch(fd, ready.set)
    try:
        await ready.wait()
    finally:
        forget(fd)
