"""Blocking work beside the event loop that is never left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


async def to_the_end(work: Callable[[], _Result]) -> _Result:
    """Run blocking work in a thread; also when cancelled, wait until it has ended.

    A thread cannot be stopped: what it still writes would come after our clearing up.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    finally:
        await asyncio.wait([running])
