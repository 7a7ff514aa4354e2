"""The protocol of Kata 2.x and later, and of our own agent: ttrpc."""

from __future__ import annotations

from pathlib import Path

from vctui.drivers import ttrpc_client


async def connect(path: Path, *, timeout: float) -> ttrpc_client.Session:
    """Raises OSError."""
    return await ttrpc_client.connect(path, timeout=timeout)
