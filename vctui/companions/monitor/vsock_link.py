"""The ways to an agent on the machine's vsock device (kata-agent ttrpc sheet, §1; gRPC sheet, §1).

There any number of clients has a connection each, and nothing of one is left for the next. No port
tells when the agent is there: it is tried again and again.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vctui.companions.monitor import slimming
from vctui.companions.monitor.agent_link import AgentLink
from vctui.companions.monitor.auto_link import AutoLink
from vctui.companions.monitor.link import Link
from vctui.drivers import ttrpc_client
from vctui.drivers.ttrpc_client import ConnectionLost
from vctui.linux import relay, sockets, vsock
from vctui.model.kinds import AgentProtocol
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.drivers.grpc_client import Session

_AGAIN: Final = 0.1
_ASK: Final = 10.0
"""Seconds for the first bytes of an answer; an emulated guest may be busy."""
_SILENCES: Final = 3
"""Times that an agent hangs up without a word before it is taken for one that speaks gRPC."""
_UNSERVED: Final = 5.0
"""Seconds without anybody at the hybrid socket, after which nobody is expected there any more. It
goes together with the machine, of whose end we hear then."""
_ANSWER: Final = ttrpc.encode(1, ttrpc.RESPONSE, b"")[4:9]
"""Stream and type of the answer to a first request, which every ttrpc agent gives."""


class Dialer:
    """Connects to the agent, and says when nobody serves the device any more."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._unserved_since = 0.0

    async def dial(self) -> socket.socket:
        """Raises OSError."""
        try:
            sock = await vsock.dial(self._url)
        except (FileNotFoundError, ConnectionRefusedError):
            self._unserved_since = self._unserved_since or time.monotonic()
            raise
        except OSError:
            self._unserved_since = 0.0
            raise
        self._unserved_since = 0.0
        return sock

    @property
    def why_not(self) -> str:
        """Why it will never succeed; "" while it may."""
        since = self._unserved_since
        if self._url.startswith("vsock:") or not since or time.monotonic() - since < _UNSERVED:
            return ""
        return "the program that serves the machine's vsock device has ended; restart the pod"


class VsockLink(AgentLink):
    """To an agent that speaks ttrpc."""

    _has_leftovers = False

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(Path(), warn)
        self._dialer: Dialer | None = None

    async def _dial(self) -> socket.socket:
        self._dialer = self._dialer or Dialer(self.url)
        try:
            return await self._dialer.dial()
        except OSError:
            if why := self._dialer.why_not:
                self._warn(why)
                self._give_up(why)
            raise


class VsockGrpcLink(Link):
    """To an agent that speaks gRPC, which each client of the socket `serve_at` reaches by a
    connection of its own: grpcio and kata-shim know no hybrid sockets."""

    protocol = monitor.GRPC

    def __init__(self, serve_at: Path, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self._serve_at = serve_at
        self._dialer = Dialer("")
        self._clients: set[asyncio.Task[None]] = set()
        self._session: Session | None = None
        self._doubt = asyncio.Event()
        """A call has failed as if the agent was not there."""

    def _hang_up(self) -> None:
        self._doubt.set()

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""
        if self._session is None or not self._ready.is_set():
            raise self._out_of_reach()
        try:
            return await self._session.call(service, method, payload)
        except ConnectionLost:
            self._ready.clear()
            self._doubt.set()
            raise

    async def run(self, *, adopting: bool) -> None:
        slimming.before_grpc()
        from vctui.drivers.grpc_client import Session

        await self._port.wait()
        self._dialer = Dialer(self.url)
        listening = sockets.listen(self._serve_at, backlog=64)
        server = await asyncio.start_unix_server(self._accept, sock=listening)
        self._session = Session.over_unix(self._serve_at)
        try:
            while await self._greet(self._session):
                self._ready.set()
                await self._doubt.wait()
                self._doubt.clear()
        finally:
            self._ready.clear()
            await sockets.stop(server)
            self._serve_at.unlink(missing_ok=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _greet(self, session: Session) -> bool:
        """Whether the agent has answered its health check, whatever it says; it is waited for as
        long as its machine has the device."""
        while not await session.is_answered():
            if why := self._dialer.why_not:
                self._warn(why)
                self._give_up(why)
                return False
            await asyncio.sleep(_AGAIN)
        return True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._clients.discard(task)
            writer.transport.abort()  # of one that was cancelled before it began

        task = asyncio.create_task(self._carry((reader, writer)))
        self._clients.add(task)
        task.add_done_callback(done)

    async def _carry(self, client: relay.Connection) -> None:
        try:
            sock = await self._dialer.dial()
            guest = await asyncio.open_connection(sock=sock)
        except OSError:
            await relay.close(client[1])
            return
        except BaseException:
            relay.reset(client[1])
            raise
        await relay.relay(client, guest)


class VsockAutoLink(AutoLink):
    """To an agent of which nobody has said what it speaks. One that does not answer a request of
    ttrpc as such, but says something else or hangs up again and again, speaks gRPC, whose servers
    hang up on what is no HTTP/2."""

    def __init__(self, serve_at: Path, warn: Callable[[str], None]) -> None:
        super().__init__(Path(), serve_at, warn)
        self._silences = 0

    async def _find(self, *, adopting: bool) -> Link:
        await self._port.wait()
        dialer = Dialer(self.url)
        while self._link is None:
            try:
                self._link = await self._ask_at(dialer)
            except OSError:
                await asyncio.sleep(_AGAIN)
        self._link.url = self.url
        return self._link

    async def _ask_at(self, dialer: Dialer) -> Link:
        """Raises OSError where nothing is known yet."""
        if dialer.why_not:
            return VsockLink(self._warn)  # which says so
        with await dialer.dial() as sock:
            said = await _first_words(sock)
        if said[4:9] == _ANSWER:
            return VsockLink(self._warn)
        self._silences += not said
        if said or self._silences > _SILENCES:
            return VsockGrpcLink(self._serve_at, self._warn)
        raise ConnectionResetError("the agent has hung up")


async def _first_words(sock: socket.socket) -> bytes:
    """What an agent begins its answer to a ttrpc health check with. Raises OSError."""
    loop = asyncio.get_running_loop()
    body = ttrpc_client.request("grpc.Health", "Check")
    said = b""
    async with asyncio.timeout(_ASK):
        await loop.sock_sendall(sock, ttrpc.encode(1, ttrpc.REQUEST, body))
        while len(said) < ttrpc.HEADER_SIZE:
            data = await loop.sock_recv(sock, ttrpc.HEADER_SIZE - len(said))
            if not data:
                break
            said += data
    return said


def make(protocol: AgentProtocol, serve_at: Path, warn: Callable[[str], None]) -> Link:
    """The link of a pod whose agent is on the vsock device, and speaks `protocol`."""
    match protocol:
        case AgentProtocol.TTRPC:
            return VsockLink(warn)
        case AgentProtocol.GRPC:
            return VsockGrpcLink(serve_at, warn)
        case _:
            return VsockAutoLink(serve_at, warn)
