"""Calls to a pod's monitor (wire/monitor.py), for the built-in proxy and the built-in shim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from vctui.drivers import connections, ttrpc_client
from vctui.drivers.connections import Lease
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Session
from vctui.errors import MonitorError
from vctui.linux import files
from vctui.wire import monitor, ttrpc

SOCKET: Final = "monitor.sock"
LOG: Final = "monitor.log"
"""What a monitor writes to its standard error."""

_CONNECT: Final = 5.0
"""Seconds; the socket is local and its backlog is large."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


@asynccontextmanager
async def connected(run_dir: Path) -> AsyncIterator[Session]:
    """A session with the monitor of the pod whose run folder is `run_dir`, for calls: others use it
    at the same time. Raises MonitorError."""
    try:
        lease = await connections.lease(run_dir / SOCKET, _connect)
    except OSError as error:
        raise gone(run_dir) from error
    try:
        yield lease.connection
    finally:
        await lease.close()


async def connect(run_dir: Path) -> Session:
    """A session of one's own, for a stream that may hold everything up behind it.

    Raises MonitorError.
    """
    try:
        return await connections.take(run_dir / SOCKET, _connect)
    except OSError as error:
        raise gone(run_dir) from error


class Calls:
    """A use of the connection at a monitor's socket for calls that it passes on."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    async def call(
        self, service: str, method: str, payload: bytes = b"", *, timeout: float | None = None
    ) -> bytes:
        """As `Session.call`."""
        return await self._lease.connection.call(service, method, payload, timeout=timeout)

    async def close(self) -> None:
        await self._lease.close()


async def calls(path: Path, *, timeout: float) -> Calls | Session:
    """Calls over the unix socket `path`; to a monitor, over the connection that others use too.

    Raises OSError.
    """
    if path.name == SOCKET:
        return Calls(await connections.lease(path, _connect))
    return await ttrpc_client.connect(path, timeout=timeout)


def renewed(run_dir: Path) -> None:
    """Another monitor was started."""
    connections.forget(run_dir / SOCKET)


async def _connect(path: Path) -> Session:
    return await ttrpc_client.connect(path, timeout=_CONNECT)


async def call(
    session: Session,
    run_dir: Path,
    method: str,
    request: msgspec.Struct | None,
    answer: type[_Answer],
    *,
    timeout: float | None,
) -> _Answer:
    """One call to the monitor itself.

    Raises:
        CallFailed: it refused.
        MonitorError: it went away, does not answer, or answers nonsense.
    """
    payload = b"" if request is None else msgspec.json.encode(request)
    try:
        body = await session.call(monitor.SERVICE, method, payload, timeout=timeout)
        return msgspec.json.decode(body, type=answer)
    except ConnectionLost as error:
        raise gone(run_dir) from error
    except TimeoutError as error:
        raise MonitorError(
            f"the monitor of pod {run_dir.name!r} did not answer {method} within {timeout:g} s; "
            "stop the pod if that goes on"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MonitorError(
            f"the monitor of pod {run_dir.name!r} answers {method} with nonsense ({error}); "
            "restart the pod"
        ) from error


def refused(run_dir: Path, error: CallFailed) -> MonitorError:
    """The error for an answer that nobody expected."""
    return MonitorError(f"the monitor of pod {run_dir.name!r} refused: {error.message}")


def gone(run_dir: Path) -> MonitorError:
    """The monitor is not there, with its last words."""
    words = files.tail(run_dir / LOG, lines=1)
    said = f" ({words[-1].decode(errors='replace')[:300]})" if words else ""
    return MonitorError(
        f"the monitor of pod {run_dir.name!r} is not there{said}; try again, a new one is started"
    )


def is_not_found(error: CallFailed) -> bool:
    return error.code == ttrpc.NOT_FOUND
