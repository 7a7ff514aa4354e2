"""What stands on the host for a process in the guest, whoever carries its streams."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from vctui.companions.monitor.attachment import Target
from vctui.companions.monitor.fanout import Fanout, Listener
from vctui.wire import crilog, monitor

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile

CHUNK: Final = 64 * 1024
"""Bytes of output at once: large enough for 20 MB/s, small enough to hold in memory."""
_ATTACH_PATIENCE: Final = 5.0
"""Seconds that an unlogged process waits, its output held, for somebody to attach."""
_LINGER: Final = 0.5
"""Seconds without output after which an ended process's streams are left to its children."""

OnEnd = Callable[[monitor.StartShim, monitor.Exit], Awaitable[None]]
"""Records the end; attached clients and waiters hear of it afterwards."""

OnRenewed = Callable[[monitor.StartShim, int], Awaitable[None]]
"""Records the other host process that stands for one in the guest."""


class StandIn(Target):
    """Keeps a process's output, tells how it ended, and is what clients attach to."""

    def __init__(
        self,
        start: monitor.StartShim,
        *,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> None:
        self.start = start
        self.output = Fanout(replay_bytes, chunk_bytes=CHUNK, lossless=not start.log)
        self.exit: asyncio.Future[monitor.Exit] = asyncio.get_running_loop().create_future()
        self._log = log
        self._on_end = on_end
        self._how: monitor.Exit | None = None
        self._retired = False
        self._received = 0
        self._held = 0

    @property
    @abstractmethod
    def pid(self) -> int:
        """The host process that stands for the one in the guest."""

    @property
    def has_ended(self) -> bool:
        return self.exit.done()

    @property
    def is_ending(self) -> bool:
        """How it ended is known, and is just being recorded."""
        return self._how is not None

    @property
    def is_attachable(self) -> bool:
        """It runs, or has ended before its first client came for the output."""
        return not (self.has_ended and (self._retired or self.output.was_joined))

    async def run(self) -> None:
        """Stand for the process until it has ended and the end is recorded."""
        self._how = how = await self._stand()
        await self._on_end(self.start, how)
        self.finish(how)

    def finish(self, how: monitor.Exit) -> None:
        """Tell everybody that and how it has ended. Idempotent."""
        if self.has_ended:
            return
        if self._log is not None:
            self._log.close()
        self.exit.set_result(how)
        self.output.finish()

    def abandon(self) -> None:
        """The process was not started: end, with nothing to tell of it."""

    def cut_off(self) -> None:
        """The way to the agent was lost, and may be there again."""

    def leave(self) -> None:
        """Let go of what was held on the host, whatever became of the process. Idempotent."""

    def retire(self) -> None:
        """Nobody comes for the output of the ended process any more."""
        self._retired = True
        self.output.forget()

    def join(self, listener: Listener, replay_bytes: int) -> None:
        self.output.join(listener, replay_bytes)
        if self.has_ended:
            listener.finish()

    @abstractmethod
    async def _stand(self) -> monitor.Exit:
        """Carry the process's output until it has ended; how it did."""

    async def _publish(self, stream: int, data: bytes) -> None:
        """Output came; return when there is room for more."""
        if self._log is not None:
            name = crilog.STREAMS[stream - monitor.STDOUT]
            self._log.write(crilog.encode(name, data, time.time_ns()))
        self._received += len(data)
        self.output.publish(stream, data)
        self._held += 1
        await self.output.room(_ATTACH_PATIENCE)
        self._held -= 1

    async def _read_rest(self, reading: asyncio.Future[Any]) -> None:
        """What an ended process has left in its pipes, but not what its children write for ever."""
        while not reading.done():
            before = self._received
            await asyncio.wait({reading}, timeout=_LINGER)
            if self._received == before and not self._held:
                return
