"""The protocol of Kata 1.x: gRPC, whose library is loaded only here and when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vctui.drivers.grpc_client import Session


async def connect(url: str, *, timeout: float) -> Session:
    """`url` is `unix://PATH`. Raises OSError."""
    from vctui.drivers.grpc_client import Session

    session = Session.over_unix(Path(url.removeprefix("unix://")))
    try:
        await session.ready(timeout=timeout)
    except BaseException:
        await session.close()
        raise
    return session
