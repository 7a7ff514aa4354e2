"""The way to an agent that speaks gRPC over yamux: Kata 1.x (kata-agent gRPC sheet, §8.4).

It has the same face as `agent_link`. Clients that want to call the agent themselves connect to
the socket beside the monitor's; here only the shims' own calls are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from vctui.companions.monitor import slimming
from vctui.companions.monitor.yamux_link import Listener, Mux
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import sockets
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.drivers.grpc_client import Session
    from vctui.drivers.ttrpc_client import Receive

_CHECK: Final = 30.0
"""Seconds for a health check, as Kata's own runtime has it."""
_AGAIN: Final = 0.1
_RESETS: Final = 3
"""Times that a garbled channel is opened again."""


class GrpcLink:
    """Keeps one yamux session with the agent for as long as the machine lives.

    Args:
        path: QEMU's socket of the agent's channel.
        serve_at: where clients get a stream of it.
        mux: a session with the agent that there is already.
    """

    protocol: Final = monitor.GRPC

    def __init__(
        self,
        path: Path,
        serve_at: Path,
        warn: Callable[[str], None],
        *,
        mux: Mux | None = None,
    ) -> None:
        self._path = path
        self._serve_at = serve_at
        self._warn = warn
        self._port = asyncio.Event()
        self._ready = asyncio.Event()
        self._listener = Listener(serve_at)
        self._mux = mux
        self._session: Session | None = None
        self.given_up = ""
        """Why the agent will not be talked to any more; "" while it may."""

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    def port_opened(self) -> None:
        self._port.set()

    def port_closed(self) -> None:
        """The agent has closed its end: whatever it was asked will not be answered."""
        if self._port.is_set():
            self._port.clear()
            if self._mux is not None:
                self._mux.abort()

    async def ready(self) -> None:
        await self._ready.wait()

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""
        if self._session is None or not self._ready.is_set():
            raise ConnectionLost(self.given_up or "the agent has not opened its channel yet")
        return await self._session.call(service, method, payload)

    async def remembers_ended(self) -> bool:
        """A Kata 1.x agent forgets a process with the answer to WaitProcess."""
        return False

    def begin(self, body: bytes, flags: int, receive: Receive) -> NoReturn:
        """Raises CallFailed."""
        raise CallFailed(
            ttrpc.UNIMPLEMENTED, f"this pod's agent speaks gRPC; it is reached at {self._serve_at}"
        )

    def send(self, stream_id: int, body: bytes, flags: int) -> None:
        """No stream was begun."""

    @property
    def is_writable(self) -> bool:
        return True

    async def drain(self) -> None:
        """Nothing waits here."""

    async def run(self, *, adopting: bool) -> None:
        """Connect, and connect again, until cancelled or the guest has sent too much garbage."""
        slimming.before_grpc()
        from vctui.drivers.grpc_client import Session

        await self._listener.open()
        self._session = Session.over_unix(self._serve_at)
        resets = 0
        try:
            while True:
                await self._port.wait()
                try:
                    why = await self._converse(self._session)
                except OSError:
                    why = ""
                if why:
                    resets += 1
                    again = resets <= _RESETS
                    self._warn(
                        f"the guest broke yamux on the agent's channel ({why}); "
                        + ("it was opened anew" if again else "it stays closed, restart the pod")
                    )
                    if not again:
                        self.given_up = "the guest sends garbage on the agent's channel"
                        return
                await asyncio.sleep(_AGAIN)  # QEMU serves the next client when the last is gone
        finally:
            self._listener.close()

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

    async def _greet(self, mux: Mux, session: Session) -> None:
        """The agent is there when it has answered its health check, whatever it says."""
        await mux.greet()
        self._listener.serve(mux)
        while True:
            try:
                await session.call("grpc.Health", "Check", timeout=_CHECK)
                break
            except (ConnectionLost, TimeoutError):
                await asyncio.sleep(_AGAIN)
            except CallFailed:
                break
        self._ready.set()
