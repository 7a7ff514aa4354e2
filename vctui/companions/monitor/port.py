"""The guest's end of the agent's channel, as QEMU tells of it.

An agent of Kata 1.x ends its session when the host has left, closes the port and opens it again
for the next (kata-agent gRPC sheet, §8.1). What comes meanwhile is lost or, worse, read as the rest
of a frame, and each connection is one of few: so nobody connects before it has done that.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

SETTLE: Final = 2.0
"""Seconds for an agent to close its port after a client has left; our own never does."""


class Port(asyncio.Event):
    """Set while the guest has it open."""

    def __init__(self) -> None:
        super().__init__()
        self._fresh = asyncio.Event()
        self._fresh.set()

    def clear(self) -> None:
        super().clear()
        self._fresh.set()

    def used(self) -> None:
        """Somebody talks to the agent, or has done so."""
        self._fresh.clear()

    async def fresh(self) -> None:
        """Return when the port is open for a client, and the last one is forgotten."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                await self._fresh.wait()
        await self.wait()
