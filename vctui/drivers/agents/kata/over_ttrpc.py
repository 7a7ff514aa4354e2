"""The protocol of Kata 2.x and later, and of our own agent: ttrpc."""

from __future__ import annotations

from pathlib import Path

from vctui.drivers import ttrpc_client
from vctui.linux import sockets, vsock


async def connect(url: str, *, timeout: float) -> ttrpc_client.Session:
    """`url` is `unix://PATH`, `vsock://CID:PORT` or `hvsock://PATH:PORT`. Raises OSError."""
    kind, _, place = url.partition("://")
    dialing = sockets.connect(Path(place)) if kind == "unix" else vsock.dial(url)
    return await ttrpc_client.over(dialing, timeout=timeout)
