"""An Attachment whose process is the test itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from vctui.drivers.shims.base import Attachment, Output


class ScriptedAttachment(Attachment):
    def __init__(self) -> None:
        self.written = bytearray()
        self.sizes: list[tuple[int, int]] = []
        self.stdin_closed = False
        self.detached = False
        self.reads = asyncio.Event()
        """Cleared: the process does not read its input."""
        self.reads.set()
        self._outputs: asyncio.Queue[Output | None] = asyncio.Queue(4)
        self._moved = asyncio.Event()

    async def say(self, data: bytes, stream: int = 1) -> None:
        await self._outputs.put(Output(stream=stream, data=data))

    async def end(self, exit_code: int | None, reason: str = "") -> None:
        self.exit_code, self.reason = exit_code, reason
        await self._outputs.put(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was written, sized, closed or left fulfils `condition`."""
        async with asyncio.timeout(10):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    async def __aiter__(self) -> AsyncIterator[Output]:
        while (output := await self._outputs.get()) is not None:
            yield output

    async def write(self, data: bytes) -> None:
        await self.reads.wait()
        self.written += data
        self._moved.set()

    async def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))
        self._moved.set()

    async def close_stdin(self) -> None:
        self.stdin_closed = True
        self._moved.set()

    async def detach(self) -> None:
        if not self.detached:
            self.detached = True
            self._moved.set()
            if self._outputs.full():
                self._outputs.get_nowait()
            self._outputs.put_nowait(None)
