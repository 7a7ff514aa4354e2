"""Connections between the host's unix sockets and the guest's ports.

A client on the host connects to the hybrid socket and says `CONNECT port`. The guest connects to
port N of the host, and reaches whoever listens on the unix socket `PATH_N`. Either way each side
may send what the other has room for, and no more is held here.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Final, cast

from vctui.linux import sockets
from vctui.wire import vsock
from vctui.wire.vsock import Credit, Header, VsockError

MAX_CONNECTIONS: Final = 512
_ROOM: Final = 256 * 1024
"""Bytes that the guest may send us on one connection before we have passed them on."""
_WAITING: Final = 64 * 1024
"""Bytes of a client that wait for the guest; above, nothing more is read."""
_BEHIND: Final = 256
"""Packets that wait for the guest; above, none is taken from it."""
_PATIENCE: Final = 10.0
"""Seconds for a client to say what it wants, for the guest to answer, and for either to let go."""
_FIRST_PORT: Final = 1 << 30
"""Of the ports that clients have on the host."""


def _nobody() -> None:
    pass


class Switch:
    """
    Args:
        path: of the hybrid socket.
        guest_cid: the guest's context id.
    """

    def __init__(self, path: Path, guest_cid: int) -> None:
        self._path = path
        self._guest_cid = guest_cid
        self._next_port = _FIRST_PORT
        self._connections: dict[tuple[int, int], Connection] = {}
        self._clients: set[Connection] = set()
        self._packets: deque[Header] = deque()
        self._ready: deque[Connection] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.wake: Callable[[], None] = _nobody
        """Called when there may be something for the guest."""

    # for the device

    @property
    def has_packets(self) -> bool:
        return bool(self._packets or self._ready)

    @property
    def is_behind(self) -> bool:
        """The guest does not take what it is to be told."""
        return len(self._packets) > _BEHIND

    def take(self, room: int) -> bytes | None:
        """A packet for the guest with at most `room` bytes of payload."""
        if self._packets:
            return self._packets.popleft().encode()
        while self._ready:
            connection = self._ready.popleft()
            packet = connection.take(room)
            if connection.wants_to_send:
                self._ready.append(connection)
            if packet is not None:
                return packet
        return None

    def receive(self, header: Header, payload: bytes) -> None:
        """A packet from the guest."""
        key = (header.dst_port, header.src_port)
        connection = self._connections.get(key)
        if header.type != vsock.STREAM:
            self._refuse(header)
        elif connection is not None:
            connection.receive(header, payload)
        elif header.op == vsock.REQUEST:
            self._open(header)
        elif header.op != vsock.RST:
            self._refuse(header)

    def reset(self) -> None:
        """End every connection; the guest is told of none."""
        self._packets.clear()
        self._ready.clear()
        for connection in tuple(self._connections.values()):
            connection.drop()

    # for the host

    def client(self) -> asyncio.Protocol:
        """Of somebody who connects to the hybrid socket."""
        return Connection(self)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in {*self._clients, *self._connections.values()}:
            connection.drop()

    # for connections

    def count(self, connection: Connection) -> bool:
        """Whether one more client can be served."""
        if len(self._clients) + len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._clients.add(connection)
        return True

    def request(self, connection: Connection, port: int) -> int:
        """Ask the guest for a connection to `port`; gives the port on the host."""
        while (self._next_port, port) in self._connections:
            self._step()
        local = self._next_port
        self._step()
        self._clients.discard(connection)
        self._connections[local, port] = connection
        return local

    def forget(self, connection: Connection) -> None:
        self._clients.discard(connection)
        key = (connection.local_port, connection.peer_port)
        if self._connections.get(key) is connection:
            del self._connections[key]

    def say(self, connection: Connection, op: int, flags: int = 0) -> None:
        self._packets.append(self.header(connection, op, flags=flags))
        self.wake()

    def header(self, connection: Connection, op: int, *, length: int = 0, flags: int = 0) -> Header:
        credit = connection.credit
        credit.telling()
        return Header(
            src_cid=vsock.HOST,
            dst_cid=self._guest_cid,
            src_port=connection.local_port,
            dst_port=connection.peer_port,
            length=length,
            type=vsock.STREAM,
            op=op,
            flags=flags,
            buf_alloc=credit.room,
            fwd_cnt=credit.forwarded,
        )

    def withdraw(self, connection: Connection) -> bool:
        """Whether the guest was never asked for the connection, and now is not going to be."""
        for packet in self._packets:
            if packet.op == vsock.REQUEST and (packet.src_port, packet.dst_port) == (
                connection.local_port,
                connection.peer_port,
            ):
                self._packets.remove(packet)
                return True
        return False

    def ready(self, connection: Connection) -> None:
        """It has something to send, and may."""
        if connection not in self._ready:
            self._ready.append(connection)
        self.wake()

    def _step(self) -> None:
        self._next_port += 1
        if self._next_port >= 1 << 32:
            self._next_port = _FIRST_PORT

    def _refuse(self, header: Header) -> None:
        self._packets.append(
            Header(
                src_cid=vsock.HOST,
                dst_cid=self._guest_cid,
                src_port=header.dst_port,
                dst_port=header.src_port,
                length=0,
                type=header.type,
                op=vsock.RST,
            )
        )
        self.wake()

    def _open(self, header: Header) -> None:
        """The guest wants a connection to a port of the host."""
        if len(self._clients) + len(self._connections) >= MAX_CONNECTIONS:
            self._refuse(header)
            return
        connection = Connection(self, asked=header)
        self._connections[header.dst_port, header.src_port] = connection
        task = asyncio.create_task(self._reach(connection, header))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(self, connection: Connection, header: Header) -> None:
        path = self._path.with_name(f"{self._path.name}_{header.dst_port}")
        try:
            async with asyncio.timeout(_PATIENCE):
                sock = await sockets.connect(path)
        except OSError:
            if not connection.is_dropped:
                connection.drop()
                self._refuse(header)
            return
        if connection.is_dropped:
            sock.close()
            return
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=sock)


class _State(Enum):
    ASKING = auto()
    """The client has not said yet which port it wants."""
    REQUESTED = auto()
    """One side was asked for the connection."""
    OPEN = auto()
    DROPPED = auto()


class Connection(asyncio.Protocol):
    """One connection, from the unix socket to the guest's port.

    Args:
        asked: the guest's request, where it was the guest that asked.
    """

    def __init__(self, switch: Switch, *, asked: Header | None = None) -> None:
        self._switch = switch
        self._asked = asked
        self.local_port = asked.dst_port if asked else 0
        self.peer_port = asked.src_port if asked else 0
        self.credit = Credit(_ROOM)
        if asked:
            self.credit.hear(asked)
        self._state = _State.REQUESTED if asked else _State.ASKING
        self._transport: asyncio.Transport | None = None
        self._line = bytearray()
        self._out = bytearray()
        self._unforwarded = 0
        self._full = False
        self._end_flags = 0
        """What to tell the guest once all was sent: the client has ended its side, or both."""
        self._peer_takes_nothing = False
        self._timer: asyncio.TimerHandle | None = None

    # for the switch

    @property
    def is_dropped(self) -> bool:
        return self._state is _State.DROPPED

    @property
    def wants_to_send(self) -> bool:
        return self._state is _State.OPEN and (
            bool(self._out and self.credit.allowance) or bool(self._end_flags and not self._out)
        )

    def take(self, room: int) -> bytes | None:
        """The next packet for the guest."""
        if self._state is not _State.OPEN:
            return None
        if count := min(room, len(self._out), self.credit.allowance):
            payload = bytes(self._out[:count])
            del self._out[:count]
            self.credit.sending(count)
            self._hold_back()
            return self._switch.header(self, vsock.RW, length=count).encode() + payload
        if self._end_flags and not self._out:
            flags, self._end_flags = self._end_flags, 0
            if flags == vsock.NO_RECEIVE | vsock.NO_SEND:
                self._wait(self._break)
            return self._switch.header(self, vsock.SHUTDOWN, flags=flags).encode()
        return None

    def receive(self, header: Header, payload: bytes) -> None:
        self.credit.hear(header)
        if header.op == vsock.RST:
            self.drop(orderly=self._state is _State.OPEN)
            return
        if self._state is _State.REQUESTED and not self._asked and header.op == vsock.RESPONSE:
            self._open()
            return
        if self._state is not _State.OPEN:
            self._break()
            return
        match header.op:
            case vsock.RW:
                self._deliver(payload)
            case vsock.CREDIT_REQUEST:
                self._switch.say(self, vsock.CREDIT_UPDATE)
            case vsock.CREDIT_UPDATE:
                pass
            case vsock.SHUTDOWN:
                self._peer_ends(header.flags)
            case _:
                self._break()
                return
        if self.wants_to_send:
            self._switch.ready(self)

    def drop(self, *, orderly: bool = False) -> None:
        """End it without a word to the guest; `orderly`: what came is delivered. Idempotent."""
        if self._state is _State.DROPPED:
            return
        self._state = _State.DROPPED
        self._calm()
        self._out.clear()
        self._switch.forget(self)
        if self._transport is not None:
            if orderly:
                self._transport.close()
            else:
                self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._state is _State.DROPPED:
            self._transport.abort()
        elif self._asked is not None:
            self._state = _State.OPEN
            self._switch.say(self, vsock.RESPONSE)
        elif self._switch.count(self):
            self._wait(self.drop)
        else:
            self.drop()

    def data_received(self, data: bytes) -> None:
        if self._state is _State.ASKING:
            self._line += data
            end = self._line.find(b"\n")
            if end >= 0:
                rest = bytes(self._line[end + 1 :])
                self._ask(bytes(self._line[: end + 1]))
                data = rest
            elif len(self._line) > vsock.MAX_LINE:
                self.drop()
                return
            else:
                return
        if self._state is _State.DROPPED or self._peer_takes_nothing:
            return
        self._out += data
        self._hold_back()
        if self._state is _State.OPEN and self._out:
            self._offer()

    def eof_received(self) -> bool:
        """Whether it has only ended its side, or closed the connection, the socket knows."""
        if self._state is not _State.OPEN:
            self._break()
            return False
        gone = self._is_closed()
        self._end_flags = vsock.NO_SEND | (vsock.NO_RECEIVE if gone else 0)
        self._switch.ready(self)
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        count, self._unforwarded = self._unforwarded, 0
        self._forwarded(count)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state is not _State.DROPPED:
            self._break()

    def _ask(self, line: bytes) -> None:
        try:
            if len(line) > vsock.MAX_LINE:
                raise VsockError("a client says too much")
            self.peer_port = vsock.connect_port(line)
        except VsockError:
            self.drop()
            return
        self._line.clear()
        self.local_port = self._switch.request(self, self.peer_port)
        self._state = _State.REQUESTED
        self._switch.say(self, vsock.REQUEST)
        self._wait(self._break)

    def _open(self) -> None:
        self._calm()
        self._state = _State.OPEN
        if self._transport is not None:
            self._transport.write(vsock.ok_line(self.local_port))
        if self._out:
            self._offer()

    def _offer(self) -> None:
        """Something is there for the guest; one that has no room is asked for it once."""
        if self.credit.allowance:
            self._switch.ready(self)
        elif len(self._out) >= _WAITING:
            self._switch.say(self, vsock.CREDIT_REQUEST)

    def _deliver(self, payload: bytes) -> None:
        try:
            self.credit.received(len(payload))
        except VsockError:
            self._break()
            return
        if self._transport is None or self._transport.is_closing():
            self._forwarded(len(payload))
            return
        self._transport.write(payload)
        if self._full:
            self._unforwarded += len(payload)
        else:
            self._forwarded(len(payload))

    def _forwarded(self, count: int) -> None:
        self.credit.freed(count)
        if self._state is _State.OPEN and self.credit.is_worth_telling:
            self._switch.say(self, vsock.CREDIT_UPDATE)

    def _peer_ends(self, flags: int) -> None:
        if flags & vsock.NO_RECEIVE:
            self._peer_takes_nothing = True
            self._out.clear()
        if flags & vsock.NO_RECEIVE and flags & vsock.NO_SEND:
            self._switch.say(self, vsock.RST)  # as the guest's kernel waits for
            self.drop(orderly=True)
        elif flags & vsock.NO_SEND and self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def _hold_back(self) -> None:
        """Do not read more from the client than the guest takes."""
        if self._transport is None or self._transport.is_closing():
            return
        if len(self._out) >= _WAITING:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _is_closed(self) -> bool:
        sock: socket.socket | None = (
            self._transport.get_extra_info("socket") if self._transport else None
        )
        if sock is None:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _break(self) -> None:
        """End it at once, and tell the guest."""
        told = self._state in {_State.REQUESTED, _State.OPEN}
        if told and not self._switch.withdraw(self):
            self._switch.say(self, vsock.RST)
        self.drop()

    def _wait(self, late: Callable[[], None]) -> None:
        self._calm()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, late)

    def _calm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
