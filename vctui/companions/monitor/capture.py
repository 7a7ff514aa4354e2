"""A byte stream that QEMU serves to one client: the serial console, the agent's log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from vctui.linux import sockets

_RETRY: Final = 0.1
"""Seconds before the socket is tried again; it is missing only while the machine begins or ends."""


class Capture(asyncio.Protocol):
    """Stays connected to `path` and gives every chunk to `sink`."""

    def __init__(self, path: Path, sink: Callable[[bytes], None]) -> None:
        self._path = path
        self._sink = sink
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._lost = asyncio.Event()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock = await sockets.connect(self._path)
                self._lost.clear()
                await loop.create_connection(lambda: self, sock=sock)
            except OSError:
                await asyncio.sleep(_RETRY)
                continue
            try:
                await self._lost.wait()
            finally:
                if self._transport is not None:
                    self._transport.abort()
            await asyncio.sleep(_RETRY)

    async def write(self, data: bytes) -> None:
        """Waits while the guest does not read. Without a connection the bytes are lost, as on
        a cable that is not plugged in."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            await self._writable.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._sink(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._lost.set()
