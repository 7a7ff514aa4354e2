"""The way to an agent that speaks gRPC over yamux: Kata 1.x (kata-agent gRPC sheet, §8.4).

Clients that want to call the agent themselves connect to
the socket beside the monitor's; here only the shims' own calls are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from vctui.companions.monitor import slimming
from vctui.companions.monitor.link import Link
from vctui.companions.monitor.yamux_link import Listener, Mux
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import sockets
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.drivers.grpc_client import Session
    from vctui.drivers.ttrpc_client import Receive

_AGAIN: Final = 0.1


class GrpcLink(Link):
    """Keeps one yamux session with the agent for as long as the machine lives.

    Args:
        path: QEMU's socket of the agent's channel.
        serve_at: where clients get a stream of it.
        mux: a session with the agent that there is already.
    """

    protocol = monitor.GRPC

    def __init__(
        self,
        path: Path,
        serve_at: Path,
        warn: Callable[[str], None],
        *,
        mux: Mux | None = None,
    ) -> None:
        super().__init__(warn)
        self._path = path
        self._serve_at = serve_at
        self._listener = Listener(serve_at)
        self._mux = mux
        self._session: Session | None = None

    def _hang_up(self) -> None:
        if self._mux is not None:
            self._mux.abort()

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""
        if self._session is None or not self._ready.is_set():
            raise self._out_of_reach()
        return await self._session.call(service, method, payload)

    def begin(self, body: bytes, flags: int, receive: Receive) -> NoReturn:
        """Raises CallFailed."""
        raise CallFailed(
            ttrpc.UNIMPLEMENTED, f"this pod's agent speaks gRPC; it is reached at {self._serve_at}"
        )

    async def run(self, *, adopting: bool) -> None:
        """Connect, and connect again, until cancelled or the guest has sent too much garbage."""
        if adopting:
            self._port.used()  # before anything is heard of the port
        slimming.before_grpc()
        from vctui.drivers.grpc_client import Session

        await self._listener.open()
        self._session = Session.over_unix(self._serve_at)
        try:
            while True:
                if self._mux is None or self._mux.lost.done():
                    await self._port.fresh()
                self._port.used()
                try:
                    why = await self._converse(self._session)
                except OSError:
                    why = ""
                if self._mux is not None and self._mux.refused:
                    self._give_up(
                        "it speaks ttrpc, not grpc; give agent_config.protocol as ttrpc, or leave "
                        "it out"
                    )
                    return
                broken = f"the guest broke the protocol on the agent's channel ({why})"
                if why and not self._opens_anew(broken):
                    return
                await asyncio.sleep(_AGAIN)  # QEMU serves the next client when the last is gone
        finally:
            await self._listener.close()

    async def close(self) -> None:
        if self._mux is not None:
            self._mux.abort()
        if self._session is not None:
            await self._session.close()

    async def _converse(self, session: Session) -> str:
        """One connection to its end; gives what the guest did wrong. Raises OSError."""
        mux = self._mux
        if mux is None or mux.lost.done():
            sock = await sockets.connect(self._path)
            _, mux = await asyncio.get_running_loop().create_connection(Mux, sock=sock)
            self._mux = mux
        greeting = asyncio.create_task(self._greet(mux, session))
        try:
            return await asyncio.shield(mux.lost)
        finally:
            greeting.cancel()
            await asyncio.gather(greeting, return_exceptions=True)
            self._ready.clear()
            self._listener.serve(None)
            mux.abort()
            self._cut_off()

    async def _greet(self, mux: Mux, session: Session) -> None:
        """The agent is there when it has answered its health check, whatever it says."""
        await mux.greet()
        self._listener.serve(mux)
        await session.answered()
        mux.is_proven = True
        self._ready.set()
