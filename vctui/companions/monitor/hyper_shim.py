"""Stands on the host for one process of a guest that speaks hyperstart's protocol."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from vctui.companions.monitor.hyper_link import HyperLink
from vctui.companions.monitor.standin import OnEnd, StandIn
from vctui.wire import monitor

if TYPE_CHECKING:
    from vctui.companions.monitor.hyper_streams import HyperStream
    from vctui.companions.monitor.logfile import LogFile

_STATUS: Final = 10.0
"""Seconds after the last output in which an agent tells how the process ended."""


class HyperShim(StandIn):
    """Whether it comes before or after the process was started, its streams are kept for it."""

    def __init__(
        self,
        start: monitor.StartShim,
        *,
        link: HyperLink,
        adopting: bool,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> None:
        super().__init__(start, log=log, replay_bytes=replay_bytes, on_end=on_end)
        self._link = link
        self._stream = link.streams.open(start.token, terminal=start.terminal)
        if adopting:
            self._stream.is_known.set()

    @property
    def pid(self) -> int:
        return os.getpid()

    async def write(self, data: bytes) -> None:
        await self._link.streams.write(self._stream, data, paced=self._link.version is not None)

    async def resize(self, size: monitor.Size) -> None:
        """Raises CallFailed."""
        start = self.start
        await self._link.resize(start.container_id, start.token, size.rows, size.columns)

    async def close_stdin(self) -> None:
        if not self.start.terminal:  # a terminal has no end
            await self._stream.is_known.wait()
            await self._link.streams.finish(self.start.token)

    async def _stand(self) -> monitor.Exit:
        stream = self._stream
        try:
            await self._read(stream)
            async with asyncio.timeout(_STATUS):
                status = await asyncio.shield(stream.exit)
        except TimeoutError:
            return monitor.Exit(None, "the agent does not say how it ended")
        finally:
            self._link.streams.forget(self.start.token)
        return monitor.Exit(status, "" if status is not None else "it was not started")

    async def _read(self, stream: HyperStream) -> None:
        while True:
            stream.arrived.clear()
            while stream.output:
                kind, data = stream.output.popleft()
                await self._publish(kind, data)
                self._link.streams.taken(len(data))
            if stream.has_ended and not stream.output:
                return
            await stream.arrived.wait()
