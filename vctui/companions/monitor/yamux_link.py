"""The one yamux connection to a guest's agent, and a stream of it for each client of a socket.

A real agent survives few reconnects (real-peers), so this one is held for the machine's life.
Whoever connects to the socket talks to the agent as if it were alone with it.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Final, cast

from vctui.companions.monitor.held import Held
from vctui.linux import sockets
from vctui.wire import ttrpc, yamux

_PROBE_EVERY: Final = 1.0
"""Seconds after which an unanswered ping is repeated; the first may come before anybody reads."""
_AT_ONCE: Final = 256
_A_SECOND: Final = 50.0
"""Clients that are taken: a gRPC client whose connection ends comes back at once, for ever."""


class Mux(asyncio.Protocol):
    """The agent's side: one yamux session over one connection.

    What comes before the answer to our first ping is left over from an earlier session that was
    cut anywhere, and is passed over.
    """

    def __init__(self) -> None:
        self._session = yamux.Session(client=True)
        self._transport: asyncio.Transport | None = None
        self._clients: dict[int, Client] = {}
        self._nonce = secrets.randbits(32)
        self._awaited = yamux.pong(self._nonce)
        self._skipped = b""
        self._aligned = False
        self._gone_away = False
        self._room = float(_AT_ONCE)
        self._counted = asyncio.get_running_loop().time()
        self.is_proven = False
        """The agent has answered a call."""
        self.refused = False
        """The agent's end says that it speaks ttrpc."""
        self.answered = asyncio.Event()
        """The agent's end is there and speaks yamux."""
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the session is over, with the protocol error that ended it or ""."""

    async def greet(self) -> None:
        """Return when the agent's end has answered."""
        while not self.answered.is_set():
            self._session.ping(self._nonce)
            self.carry()
            try:
                async with asyncio.timeout(_PROBE_EVERY):
                    await self.answered.wait()
            except TimeoutError:
                continue

    def abort(self, why: str = "") -> None:
        """End the session and every client's connection. Idempotent."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        self.answered.clear()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.hang_up()
        if self._transport is not None:
            self._transport.abort()

    # for clients

    def join(self, client: Client) -> int:
        """A stream of its own. Raises YamuxError."""
        if not self.answered.is_set():
            raise yamux.YamuxError("the agent's end is not there")
        if not self._has_room():
            if not self.is_proven:
                self.abort("whoever asks it something is hung up on")
            raise yamux.YamuxError("too many clients have come and gone")
        try:
            stream = self._session.open()
        except yamux.YamuxError:
            if self._gone_away:  # a session that takes nobody any more makes room for the next
                self.abort()
            raise
        self._clients[stream] = client
        self.carry()
        return stream

    def _has_room(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._room = min(_AT_ONCE, self._room + (now - self._counted) * _A_SECOND) - 1
        self._counted = now
        if self._room < 0:
            self._room = 0
            return False
        return True

    def leave(self, stream: int) -> None:
        if self._clients.pop(stream, None) is not None and not self.lost.done():
            self._session.end(stream)
            self.carry()

    def send(self, stream: int, data: bytes) -> int:
        """How much of `data` the agent takes now."""
        taken = self._session.send(stream, data)
        self.carry()
        return taken

    def consumed(self, stream: int, count: int) -> None:
        self._session.consumed(stream, count)
        self.carry()

    def carry(self) -> None:
        data = self._session.take()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._aligned:
            seen = self._skipped + data
            at = seen.find(self._awaited)
            if at < 0:
                if ttrpc.NOT_YAMUX in seen:
                    self.refused = True
                    self.abort("it speaks ttrpc")
                self._skipped = seen[-len(self._awaited) + 1 :]
                return
            self._aligned, self._skipped = True, b""
            self.answered.set()
            data = seen[at + len(self._awaited) :]
        try:
            for event in self._session.receive(data):
                self._take(event)
        except yamux.YamuxError as error:
            self.carry()
            self.abort(str(error))
            return
        self.carry()

    def pause_writing(self) -> None:
        """The guest does not read: neither do we, from anybody."""
        if self._transport is not None:
            self._transport.pause_reading()
        for client in tuple(self._clients.values()):
            client.hold(self, True)

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
        for client in tuple(self._clients.values()):
            client.hold(self, False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort()

    def _take(self, event: yamux.Event) -> None:
        if isinstance(event, yamux.GoneAway):
            self._gone_away = True
            return
        client = self._clients.get(event.stream)
        if isinstance(event, yamux.Data):
            if client is None:  # it has left; what still comes for it must not stop the rest
                self._session.consumed(event.stream, len(event.data))
            else:
                client.give(event.data)
        elif client is None:
            return
        elif isinstance(event, yamux.Writable):
            client.room_again()
        elif isinstance(event, yamux.Ended):
            client.hang_up()
        elif isinstance(event, yamux.Reset):  # there is nothing left that its leaving would end
            del self._clients[event.stream]
            client.hang_up()


class Client(Held):
    """One connection to the socket, as long as its stream."""

    def __init__(self, mux: Mux) -> None:
        super().__init__()
        self._mux = mux
        self._stream = 0
        self._waiting = b""
        self._unread = 0
        self._full = False

    # for the mux

    def give(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._transport.write(data)
        if self._full:
            self._unread += len(data)
        else:
            self._mux.consumed(self._stream, len(data))

    def room_again(self) -> None:
        self._waiting = self._waiting[self._mux.send(self._stream, self._waiting) :]
        if not self._waiting:
            self.hold(self, False)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self._stream = self._mux.join(self)
        except yamux.YamuxError:
            cast("asyncio.Transport", transport).abort()

    def data_received(self, data: bytes) -> None:
        if self._waiting:
            self._waiting += data
            return
        try:
            self._waiting = data[self._mux.send(self._stream, data) :]
        except yamux.YamuxError:
            self.hang_up()
            return
        if self._waiting:
            self.hold(self, True)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        unread, self._unread = self._unread, 0
        if unread:
            self._mux.consumed(self._stream, unread)

    def connection_lost(self, exc: Exception | None) -> None:
        self._mux.leave(self._stream)


class Listener:
    """The socket that clients connect to, whichever session there is at the moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mux: Mux | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Raises OSError."""
        self._server = await asyncio.get_running_loop().create_unix_server(
            self._client, sock=sockets.listen(self._path, backlog=64)
        )

    def serve(self, mux: Mux | None) -> None:
        self._mux = mux

    async def close(self) -> None:
        if self._server is not None:
            await sockets.stop(self._server)
            self._path.unlink(missing_ok=True)

    def _client(self) -> asyncio.Protocol:
        return _Refused() if self._mux is None else Client(self._mux)


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
