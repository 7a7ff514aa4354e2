"""How fast this host's time stamp counter runs.

A machine that is emulated shows its guest the host's counter. Linux tells its frequency to nobody,
so it is measured: the processor's instruction, called as a function, against the clock.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import time
from collections.abc import Callable
from typing import Final

_MACHINE: Final = "x86_64"
_CODE: Final = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret"""
_PAUSE: Final = 0.05
"""Seconds; long enough for 20 parts in a million."""


async def frequency_khz() -> int:
    """0 where it cannot be measured: another processor, or a host that forbids made-up code."""
    if os.uname().machine != _MACHINE:
        return 0
    import ctypes  # which only a guest that is going to be saved waits for

    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0
    with page:
        page.write(_CODE)
        place = ctypes.c_char.from_buffer(page)
        read: Callable[[], int] = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
        first, began = _sample(read)
        await asyncio.sleep(_PAUSE)
        last, ended = _sample(read)
        del place, read
    return round((last - first) * 1_000_000 / (ended - began))


def _sample(read: Callable[[], int]) -> tuple[int, int]:
    """Counter and nanoseconds at one moment: of several looks the one that took least."""
    looks = []
    for _ in range(5):
        before = time.monotonic_ns()
        counter = read()
        after = time.monotonic_ns()
        looks.append((after - before, counter, (before + after) // 2))
    _, counter, moment = min(looks)
    return counter, moment
