"""The way to an agent of which nobody has said what it speaks: found out by asking once.

It is asked when it has opened its port, as what comes before that is lost, and by a yamux ping,
which both generations survive: ttrpc's first words would end a session of yamux. An agent of Kata
1.x answers, and the connection is kept: it does not live through many. Our own says that it speaks
ttrpc. One that says neither for a long while gets ttrpc, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vctui.companions.monitor.agent_link import AgentLink
from vctui.companions.monitor.grpc_link import GrpcLink
from vctui.companions.monitor.link import Link
from vctui.companions.monitor.yamux_link import Mux
from vctui.linux import sockets
from vctui.wire import monitor

if TYPE_CHECKING:
    from vctui.drivers.ttrpc_client import Receive

_PATIENCE: Final = 30.0
"""Seconds for an answer to the ping. An emulated guest may have opened its port long before it
reads it, and one that is taken for ttrpc too early is lost."""
_AGAIN: Final = 0.1


class AutoLink(Link):
    """Asks, then is the link that fits."""

    def __init__(self, path: Path, serve_at: Path, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self._path = path
        self._serve_at = serve_at
        self._found = asyncio.Event()
        self._link: Link | None = None
        self._asking: Mux | None = None

    @property
    def given_up(self) -> str:
        return "" if self._link is None else self._link.given_up

    @property
    def is_ready(self) -> bool:
        return self._link is not None and self._link.is_ready

    def port_opened(self) -> None:
        super().port_opened()
        if self._link is not None:
            self._link.port_opened()

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.port_closed()
        elif self._asking is not None:
            self._asking.abort()

    async def ready(self) -> None:
        await self._found.wait()
        await self._current().ready()

    async def hopeless(self) -> None:
        await self._found.wait()
        await self._current().hopeless()

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""
        return await self._current().call(service, method, payload)

    async def remembers_ended(self) -> bool:
        return self._link is not None and await self._link.remembers_ended()

    def begin(self, body: bytes, flags: int, receive: Receive) -> int:
        """Raises CallFailed, ConnectionLost."""
        return self._current().begin(body, flags, receive)

    def send(self, stream_id: int, body: bytes, flags: int) -> None:
        if self._link is not None:
            self._link.send(stream_id, body, flags)

    @property
    def is_writable(self) -> bool:
        return self._link is None or self._link.is_writable

    async def drain(self) -> None:
        if self._link is not None:
            await self._link.drain()

    async def run(self, *, adopting: bool) -> None:
        link = await self._find(adopting=adopting)
        if self._port.is_set():
            link.port_opened()
        self.protocol, link.attendants = link.protocol, self.attendants
        self._found.set()
        await link.run(adopting=adopting or link.protocol == monitor.TTRPC)

    async def _find(self, *, adopting: bool) -> Link:
        if adopting:
            self._port.used()
        while self._link is None:
            await self._port.fresh()
            self._port.used()
            try:
                await self._ask()
            except OSError:
                await asyncio.sleep(_AGAIN)  # QEMU serves the next client when the last is gone
        return self._link

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()

    async def _ask(self) -> None:
        """Raises OSError where the connection ended before anything was known."""
        sock = await sockets.connect(self._path)
        _, mux = await asyncio.get_running_loop().create_connection(Mux, sock=sock)
        self._asking = mux
        greeting = asyncio.create_task(mux.greet())
        either: set[asyncio.Future[Any]] = {greeting, mux.lost}
        try:
            done, _ = await asyncio.wait(
                either, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._asking = None
            greeting.cancel()
            await asyncio.gather(greeting, return_exceptions=True)
            if not mux.answered.is_set():
                mux.abort()
        if mux.answered.is_set():
            self._link = GrpcLink(self._path, self._serve_at, self._warn, mux=mux)
        elif mux.refused or not done:
            self._link = AgentLink(self._path, self._warn)
        else:
            raise ConnectionResetError("the channel was closed before the agent had answered")

    def _current(self) -> Link:
        if self._link is None:
            raise self._out_of_reach()
        return self._link
