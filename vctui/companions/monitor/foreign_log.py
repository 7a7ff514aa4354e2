"""Logs that other programs write: nobody but us bounds them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_TRIM: Final = 10.0
"""Seconds between looks at the size."""
_MAX_BYTES: Final = 16 * 1024 * 1024


async def bound(logs: Sequence[Path]) -> None:
    """Empty each that grows too large, until cancelled. Their writers append."""
    while True:
        for log in logs:
            with contextlib.suppress(OSError):
                if log.stat().st_size > _MAX_BYTES:
                    os.truncate(log, 0)
        await asyncio.sleep(_TRIM)
