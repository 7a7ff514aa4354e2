"""Connections that several parts of one operation use, one after the other or at once.

An operation of the engine calls a pod's monitor as its proxy, as its agent and as its shim. They
share one connection, which stays open for a moment after its last use while somebody keeps
(`kept`): the next part of a command finds it there. Connections belong to the running event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from vctui.drivers.ttrpc_client import Session

_LINGER: Final = 1.0
"""Seconds after the last use."""


Connect = Callable[[Path], Awaitable["Session"]]


class _Used:
    def __init__(self, connection: Session) -> None:
        self.connection = connection
        self.users = 0
        self.timer: asyncio.TimerHandle | None = None

    def is_usable(self) -> bool:
        """Also where the loop has not been told yet that the other side has left."""
        if not self.connection.is_open or (descriptor := self.connection.fileno()) < 0:
            return False
        ends = select.poll()
        ends.register(descriptor, select.POLLRDHUP)
        return not ends.poll(0)

    def rest(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Here:
    """What one event loop has open, by the socket's path."""

    def __init__(self) -> None:
        self.keepers = 0
        self.opened: dict[Path, _Used] = {}

    def drop(self, path: Path, used: _Used) -> None:
        if self.opened.get(path) is used:
            del self.opened[path]


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = WeakKeyDictionary()


class Lease:
    """One use of a connection, until `close`. Raises what the connection raises."""

    def __init__(self, path: Path, used: _Used) -> None:
        self.connection = used.connection
        self._path = path
        self._used = used
        self._ended = False
        used.rest()
        used.users += 1

    async def close(self) -> None:
        """Idempotent."""
        if self._ended:
            return
        self._ended = True
        here, used = _here(), self._used
        used.users -= 1
        if used.users:
            return
        if here.keepers and here.opened.get(self._path) is used and used.connection.is_open:
            loop = asyncio.get_running_loop()
            used.timer = loop.call_later(_LINGER, _close_unused, self._path, used)
            return
        here.drop(self._path, used)
        await used.connection.close()


async def lease(path: Path, connect: Connect) -> Lease:
    """A use of the connection to `path`, beside others who use it. Raises what `connect` raises."""
    here = _here()
    used = here.opened.get(path)
    if used is None or not used.is_usable():
        used = here.opened[path] = _Used(await connect(path))
    return Lease(path, used)


async def take(path: Path, connect: Connect) -> Session:
    """A connection to `path` of one's own: one that nobody uses any more, or a new one."""
    here = _here()
    used = here.opened.get(path)
    if used is None or used.users or not used.is_usable():
        return await connect(path)
    used.rest()
    here.drop(path, used)
    return used.connection


def forget(path: Path) -> None:
    """Somebody else listens at `path` from now on; who uses an earlier connection still may."""
    used = _here().opened.pop(path, None)
    if used is not None and not used.users:
        used.rest()
        used.connection.abort("another one is opened")


@contextlib.asynccontextmanager
async def kept() -> AsyncIterator[None]:
    """Let connections stay for a moment after each use; with the block all unused ones end."""
    here = _here()
    here.keepers += 1
    try:
        yield
    finally:
        here.keepers -= 1
        if not here.keepers:
            unused = [(path, used) for path, used in here.opened.items() if not used.users]
            for path, used in unused:
                used.rest()
                here.drop(path, used)
            for _, used in unused:
                await used.connection.close()


def _close_unused(path: Path, used: _Used) -> None:
    _here().drop(path, used)
    used.connection.abort("nobody uses it")


def _here() -> _Here:
    return _loops.setdefault(asyncio.get_running_loop(), _Here())
