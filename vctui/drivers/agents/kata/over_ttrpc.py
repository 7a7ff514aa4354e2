"""The protocol of Kata 2.x and later, and of our own agent: ttrpc."""

from __future__ import annotations

from pathlib import Path

from vctui.drivers import monitor_client, ttrpc_client
from vctui.linux import vsock


async def connect(url: str, *, timeout: float) -> ttrpc_client.Session | monitor_client.Calls:
    """`url` is `unix://PATH`, `vsock://CID:PORT` or `hvsock://PATH:PORT`. Raises OSError."""
    kind, _, place = url.partition("://")
    if kind == "unix":
        return await monitor_client.calls(Path(place), timeout=timeout)
    return await ttrpc_client.over(vsock.dial(url), timeout=timeout)
