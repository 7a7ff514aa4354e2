"""A connection that is not read from while anybody holds it."""

from __future__ import annotations

import asyncio
from typing import cast


class Held(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._holders: set[object] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def hold(self, holder: object, on: bool) -> None:
        """Idempotent."""
        if on:
            self._holders.add(holder)
        else:
            self._holders.discard(holder)
        if self._transport is None or self._transport.is_closing():
            return
        if self._holders:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
