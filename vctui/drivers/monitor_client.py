"""Calls to a pod's monitor (wire/monitor.py), for the built-in proxy and the built-in shim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from vctui.drivers import ttrpc_client
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
    """A session with the monitor of the pod whose run folder is `run_dir`. Raises MonitorError."""
    session = await connect(run_dir)
    try:
        yield session
    finally:
        await session.close()


async def connect(run_dir: Path) -> Session:
    """Raises MonitorError."""
    try:
        return await ttrpc_client.connect(run_dir / SOCKET, timeout=_CONNECT)
    except OSError as error:
        raise gone(run_dir) from error


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
    except msgspec.DecodeError as error:
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
