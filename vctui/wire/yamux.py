"""yamux: many byte streams over one (kata-agent gRPC sheet, §8.4). Bytes in, events out; no I/O.

The monitor is the client on the serial channel of a Kata 1.x agent; our own guest can be the
server. It imports little because every import costs emulated time in the guest.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

DATA: Final = 0
WINDOW: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 0x1
ACK: Final = 0x2
FIN: Final = 0x4
RST: Final = 0x8

NORMAL: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
"""Codes of Go Away."""

INITIAL_WINDOW: Final = 256 * 1024
"""Bytes that each side of a stream may send before the other has said that it read some."""
MAX_STREAMS: Final = 256
"""That a peer may have open; the reference server has a backlog of as many."""
_LAST_ID: Final = 2**32 - 3
_MAX_WINDOW: Final = 2**32 - 1

_HEADER: Final = struct.Struct(">BBHII")
HEADER_SIZE: Final = _HEADER.size


class YamuxError(ValueError):
    """The peer broke the protocol, or said that we did; the session is of no more use."""


def pong(number: int) -> bytes:
    """The answer to a ping, as it stands in the stream of bytes."""
    return _HEADER.pack(0, PING, ACK, 0, number)


class Event:
    """Something that came. `stream` is 0 for what concerns the session."""

    __slots__ = ("stream",)

    def __init__(self, stream: int) -> None:
        self.stream = stream

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self._fields()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields())
        return f"{type(self).__name__}({values})"

    def _fields(self) -> tuple[str, ...]:
        return ("stream", *type(self).__slots__) if type(self) is not Event else ("stream",)


class Opened(Event):
    """The peer has opened a stream."""

    __slots__ = ()


class Data(Event):
    """Bytes of a stream. Say `consumed` for as many once they have found their place."""

    __slots__ = ("data",)

    def __init__(self, stream: int, data: bytes) -> None:
        super().__init__(stream)
        self.data = data


class Writable(Event):
    """The peer takes more of a stream."""

    __slots__ = ()


class Ended(Event):
    """The peer sends nothing more on a stream."""

    __slots__ = ()


class Reset(Event):
    """The peer has dropped a stream, or refused it."""

    __slots__ = ()


class Pong(Event):
    """The answer to one of our pings."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__(0)
        self.number = number


class GoneAway(Event):
    """The peer takes no new streams; those that are open go on."""

    __slots__ = ()


OPEN, LOCAL_CLOSED, REMOTE_CLOSED, CLOSED = "open", "local-closed", "remote-closed", "closed"
_WE_CLOSE: Final = {OPEN: LOCAL_CLOSED, REMOTE_CLOSED: CLOSED}
_THEY_CLOSE: Final = {OPEN: REMOTE_CLOSED, LOCAL_CLOSED: CLOSED}


class _Stream:
    __slots__ = ("consumed", "receivable", "sendable", "state")

    def __init__(self) -> None:
        self.state = OPEN
        self.sendable = INITIAL_WINDOW
        self.receivable = INITIAL_WINDOW
        self.consumed = 0
        """Bytes that were read and not announced to the peer."""


class Session:
    """One end of a yamux connection.

    What is to be sent gathers until `take` is called. Whoever carries the bytes bounds that: it
    reads no more while the peer does not take what was sent.

    Args:
        client: open streams with odd numbers, and refuse the peer's; else accept the peer's.
    """

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self._next_id = 1 if client else 2
        self._streams: dict[int, _Stream] = {}
        self._out = bytearray()
        self._buffer = bytearray()
        self._body = 0
        """Bytes of the current Data frame that are still to come."""
        self._body_stream = 0
        self._body_ends = False
        self._gone_away = False
        self._error: YamuxError | None = None

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def take(self) -> bytes:
        """What is to be sent, once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def open(self) -> int:
        """A new stream's number.

        Raises:
            YamuxError: the peer takes none, or all numbers are used.
        """
        self._check()
        if self._gone_away or self._next_id > _LAST_ID or len(self._streams) >= MAX_STREAMS:
            raise YamuxError("the other side takes no more streams")
        stream = self._next_id
        self._next_id += 2
        self._streams[stream] = _Stream()
        self._frame(WINDOW, SYN, stream, 0)
        return stream

    def send(self, stream: int, data: bytes) -> int:
        """Send as much of `data` as the peer's window takes; gives how much that was.

        Raises:
            YamuxError: the stream is not open for us.
        """
        self._check()
        state = self._sending(stream)
        part = data[: state.sendable]
        if part:
            state.sendable -= len(part)
            self._frame(DATA, 0, stream, len(part))
            self._out += part
        return len(part)

    def consumed(self, stream: int, count: int) -> None:
        """`count` bytes of Data events are done with. Nothing happens for a stream that is gone."""
        state = self._streams.get(stream)
        if state is None:
            return
        state.consumed += count
        if state.consumed >= INITIAL_WINDOW // 2 and state.state in {OPEN, LOCAL_CLOSED}:
            state.receivable += state.consumed
            self._frame(WINDOW, 0, stream, state.consumed)
            state.consumed = 0

    def end(self, stream: int) -> None:
        """Send nothing more on it. Raises YamuxError where that was said already."""
        self._check()
        state = self._sending(stream)
        state.state = _WE_CLOSE[state.state]
        self._frame(WINDOW, FIN, stream, 0)
        self._drop_closed(stream, state)

    def reset(self, stream: int) -> None:
        """Drop a stream at once. Nothing happens for one that is gone."""
        if self._streams.pop(stream, None) is not None:
            self._frame(WINDOW, RST, stream, 0)

    def ping(self, number: int) -> None:
        self._frame(PING, SYN, 0, number)

    def go_away(self, code: int = NORMAL) -> None:
        """Take no new streams, or with another code than NORMAL: end."""
        self._frame(GO_AWAY, 0, 0, code)
        self._gone_away = True

    def receive(self, chunk: bytes) -> Iterator[Event]:
        """What `chunk` brings. Data comes as it arrives, so at most a header is held.

        Raises:
            YamuxError: the peer broke the protocol; a Go Away that says so is to be sent.
        """
        self._check()
        buffer = self._buffer
        buffer += chunk
        while True:
            if self._body:
                part = bytes(buffer[: self._body])
                del buffer[: len(part)]
                self._body -= len(part)
                if part and self._body_stream in self._streams:
                    yield Data(self._body_stream, part)
                if self._body:
                    return
                if self._body_ends and self._body_stream in self._streams:
                    yield Ended(self._body_stream)
                    self._drop_closed(self._body_stream)
                self._body_ends = False
            if len(buffer) < HEADER_SIZE:
                return
            version, kind, flags, stream, length = _HEADER.unpack_from(buffer)
            del buffer[:HEADER_SIZE]
            if version != 0:
                raise self._broken(f"version {version} of the protocol does not exist")
            yield from self._take_frame(kind, flags, stream, length)

    # frames

    def _take_frame(self, kind: int, flags: int, stream: int, length: int) -> Iterator[Event]:
        if kind in {DATA, WINDOW}:
            yield from self._take_stream_frame(kind, flags, stream, length)
        elif kind == PING:
            if flags & SYN:
                self._frame(PING, ACK, 0, length)
            else:
                yield Pong(length)
        elif kind == GO_AWAY:
            if length != NORMAL:
                self._error = YamuxError(f"the other side ended the session with code {length}")
                raise self._error
            self._gone_away = True
            yield GoneAway(0)
        else:
            raise self._broken(f"there is no frame type {kind}")

    def _take_stream_frame(
        self, kind: int, flags: int, stream: int, length: int
    ) -> Iterator[Event]:
        if flags & SYN:
            yield from self._take_syn(stream)
        state = self._streams.get(stream)
        if kind == DATA:
            self._body, self._body_stream = length, stream
            self._body_ends = False
        if state is None:  # one that we have dropped, or refused: the rest of it is passed over
            return
        if flags & RST:
            del self._streams[stream]
            yield Reset(stream)
            return
        if kind == DATA:
            if length and state.state not in {OPEN, LOCAL_CLOSED}:
                raise self._broken(f"data came on stream {stream} after its end")
            if length > state.receivable:
                raise self._broken(f"stream {stream} has more data than its window allows")
            state.receivable -= length
        elif length:
            was_full = state.sendable == 0
            state.sendable = min(state.sendable + length, _MAX_WINDOW)
            if was_full and state.state in _WE_CLOSE:
                yield Writable(stream)
        if flags & FIN:
            after = _THEY_CLOSE.get(state.state)
            if after is None:
                raise self._broken(f"stream {stream} was ended twice")
            state.state = after
            if self._body:
                self._body_ends = True
            else:
                yield Ended(stream)
                self._drop_closed(stream)

    def _take_syn(self, stream: int) -> Iterator[Event]:
        if stream in self._streams:
            raise self._broken(f"stream {stream} was opened twice")
        if not stream or stream % 2 == int(self._client):
            raise self._broken(f"stream {stream} is not theirs to open")
        if self._client or self._gone_away or len(self._streams) >= MAX_STREAMS:
            self._frame(WINDOW, RST, stream, 0)
            return
        self._streams[stream] = _Stream()
        self._frame(WINDOW, ACK, stream, 0)
        yield Opened(stream)

    def _sending(self, stream: int) -> _Stream:
        state = self._streams.get(stream)
        if state is None or state.state not in _WE_CLOSE:
            raise YamuxError(f"stream {stream} is not open for sending")
        return state

    def _drop_closed(self, stream: int, state: _Stream | None = None) -> None:
        state = state or self._streams.get(stream)
        if state is not None and state.state == CLOSED:
            self._streams.pop(stream, None)

    def _frame(self, kind: int, flags: int, stream: int, length: int) -> None:
        self._out += _HEADER.pack(0, kind, flags, stream, length)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _broken(self, why: str) -> YamuxError:
        self._error = YamuxError(why)
        self.go_away(PROTOCOL_ERROR)
        return self._error
