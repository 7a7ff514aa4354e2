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

from vctui.companions.monitor.standin import CHUNK, OnEnd, StandIn
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import process, terminals
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile

_FAILED: Final = 1
"""What a shim exits with when it fails itself; a process may do so as well."""


class Family(ABC):
    """What differs between the programs."""

    can_follow = True
    """One may stand for a process that another one has stood for."""

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
    """One running program. `begin` starts it."""

    def __init__(
        self,
        start: monitor.StartShim,
        *,
        family: Family,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> None:
        super().__init__(start, log=log, replay_bytes=replay_bytes, on_end=on_end)
        self._family = family
        self._streams: list[tuple[int, int]] = []
        """Descriptors that are read, each with the stream it is."""
        self._stdin = -1
        self._abandoned = False
        self._begin(family.argv(start))

    @property
    def pid(self) -> int:
        return self._program.pid

    def abandon(self) -> None:
        self._abandoned = True
        process.send(self._program, signal.SIGKILL)

    def leave(self) -> None:
        """The program goes too: nobody holds the other ends of its streams any more."""
        process.send(self._program, signal.SIGKILL)
        self._close()

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._stdin < 0:
                raise CallFailed(ttrpc.FAILED_PRECONDITION, "the process takes no input")
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await _ready(self._stdin, writing=True)
            except OSError as error:
                raise CallFailed(ttrpc.FAILED_PRECONDITION, "the process has ended") from error

    async def resize(self, size: monitor.Size) -> None:
        if self.start.terminal and self._stdin >= 0:
            terminals.set_size(self._stdin, size.rows, size.columns)
            process.send(self._program, signal.SIGWINCH)
            await self._family.resize(self.start, size)

    async def close_stdin(self) -> None:
        if not self.start.terminal:  # a terminal has no end
            self._close_stdin()

    async def _stand(self) -> monitor.Exit:
        reading = asyncio.gather(*(self._read(fd, stream) for fd, stream in self._streams))
        cutting = asyncio.create_task(self._end_when_cut_off())
        try:
            status = await process.wait_end(self._program.pid, self._program.started)
            await self._read_rest(reading)
        finally:
            for task in (reading, cutting):
                task.cancel()
            await asyncio.gather(reading, cutting, return_exceptions=True)
            self._close()
        if self._abandoned:
            return monitor.Exit(None, "it was not started")
        if status is None or status < 0 or status == _FAILED:
            if why := self._family.cut_off:
                return monitor.Exit(None, why)
            await self._family.kill(self.start)
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
