"""The client's end of a ttrpc connection (kata-agent ttrpc sheet, §1).

Agents, proxies, shims and the monitor all speak through it; none of them imports another.
One connection carries any number of calls at once. Whatever arrives is taken as hostile:
answers to streams that nobody opened are counted and thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, cast

from vctui.linux import sockets
from vctui.wire import ttrpc
from vctui.wire.proto import message

if TYPE_CHECKING:
    import socket
    from pathlib import Path

MAX_STREAMS: Final = 8192
"""Open and abandoned ones together: a peer that never answers must not fill our memory."""
_STREAM_BUFFER: Final = 1024 * 1024
"""Bytes of unread stream data at which the connection stops reading."""
_STATUS_CHARS: Final = 4096
"""Of a peer's error message."""


class CallFailed(Exception):
    """The peer answered with an error; `code` is a gRPC status code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ConnectionLost(CallFailed):
    """The connection ended before the answer came."""

    def __init__(self, message: str) -> None:
        super().__init__(ttrpc.UNAVAILABLE, message)


class Framer(Protocol):
    """What turns received bytes into frames."""

    def feed(self, chunk: bytes, /) -> Iterator[ttrpc.Frame]: ...


Receive = Callable[[ttrpc.Frame | ConnectionLost], None]
"""Takes each frame of one stream; a ConnectionLost is the last thing it gets."""


class Session(asyncio.Protocol):
    """Streams over one transport; made by `connect`, or by hand over any transport."""

    def __init__(
        self,
        *,
        first_id: int = 1,
        framer: Framer | None = None,
        on_lost: Callable[[str], None] | None = None,
        on_stray: Callable[[ttrpc.Frame], None] | None = None,
    ) -> None:
        self._framer: Framer = framer or ttrpc.Decoder()
        self._ids = itertools.count(first_id, 2)
        self._streams: dict[int, Receive] = {}
        self._on_lost = on_lost
        self._on_stray = on_stray
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._closed = asyncio.get_running_loop().create_future()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        for frame in self._framer.feed(data):
            self._dispatch(frame)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(str(exc) if exc else "the other side closed the connection")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # streams

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def fileno(self) -> int:
        """-1 where it is closed."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    @property
    def is_writable(self) -> bool:
        return self._writable.is_set()

    async def drain(self) -> None:
        """Return when the peer has taken enough of what was sent."""
        await self._writable.wait()

    def begin(self, body: bytes, receive: Receive, *, flags: int = 0) -> int:
        """Send the body of a Request on a new stream; its frames go to `receive`.

        Raises:
            ConnectionLost: the connection is closed.
            CallFailed: too many streams are open, or the body is too long for a frame.
        """
        if self._transport is None or not self.is_open:
            raise ConnectionLost("the connection is closed")
        if len(self._streams) >= MAX_STREAMS:
            raise CallFailed(ttrpc.RESOURCE_EXHAUSTED, f"{MAX_STREAMS} calls are unanswered")
        if len(body) > ttrpc.MAX_DATA:
            raise CallFailed(
                ttrpc.RESOURCE_EXHAUSTED, f"a request of {len(body)} bytes does not fit a frame"
            )
        stream_id = next(self._ids)
        self._streams[stream_id] = receive
        self._transport.write(ttrpc.encode(stream_id, ttrpc.REQUEST, body, flags))
        return stream_id

    def send(self, stream_id: int, body: bytes, *, flags: int = 0) -> None:
        """One Data frame of an open stream; silently nothing when the connection is closed."""
        if self._transport is not None and self.is_open:
            self._transport.write(ttrpc.encode(stream_id, ttrpc.DATA, body, flags))

    def abandon(self, stream_id: int) -> None:
        """Stop listening; ttrpc cannot cancel, so the answer is still expected and dropped."""
        if stream_id in self._streams:
            self._streams[stream_id] = _ignore

    async def call(
        self, service: str, method: str, payload: bytes = b"", *, timeout: float | None = None
    ) -> bytes:
        """A unary call: the payload of the answer.

        Raises:
            CallFailed: with the peer's code and message.
            ConnectionLost: no answer will come.
            TimeoutError: none came within `timeout` seconds.
        """
        answer: asyncio.Future[ttrpc.Frame] = asyncio.get_running_loop().create_future()

        def receive(frame: ttrpc.Frame | ConnectionLost) -> None:
            if answer.done():
                return
            if isinstance(frame, ConnectionLost):
                answer.set_exception(frame)
            else:
                answer.set_result(frame)

        stream_id = self.begin(request(service, method, payload, timeout=timeout), receive)
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
                return result(await answer)
        finally:
            self.abandon(stream_id)

    def stream(self, service: str, method: str, payload: bytes = b"") -> Stream:
        """Open a streaming call. Raises ConnectionLost."""
        return Stream(self, request(service, method, payload))

    def read_on(self, on: bool) -> None:
        """Stop and go on reading from the peer."""
        if self._transport is None or not self.is_open:
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def abort(self, why: str) -> None:
        """Drop the connection at once; every open call fails with `why`."""
        if self._transport is not None:
            self._transport.abort()
        self._lost(why)

    async def close(self) -> None:
        """End the connection after what was sent has left. Idempotent."""
        if self._transport is None:
            return
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.shield(self._closed)
        if not self._closed.done():
            self.abort("closed")

    def _dispatch(self, frame: ttrpc.Frame) -> None:
        receive = self._streams.get(frame.stream_id)
        if receive is None or frame.type not in {ttrpc.RESPONSE, ttrpc.DATA}:
            if self._on_stray is not None:
                self._on_stray(frame)
            return
        if frame.type == ttrpc.RESPONSE:
            del self._streams[frame.stream_id]
        receive(frame)

    def _lost(self, why: str) -> None:
        if self._closed.done():
            return
        self._closed.set_result(None)
        self._writable.set()
        streams, self._streams = self._streams, {}
        for receive in streams.values():
            receive(ConnectionLost(why))
        if self._on_lost is not None:
            self._on_lost(why)


class Stream:
    """Both directions of a streaming call. Data is read in order; nothing is lost."""

    def __init__(self, session: Session, body: bytes) -> None:
        self._session = session
        self._frames: deque[ttrpc.Frame | ConnectionLost] = deque()
        self._unread = 0
        self._arrived = asyncio.Event()
        self._ended = False
        self._id = session.begin(body, self._receive, flags=ttrpc.REMOTE_OPEN)

    async def receive(self) -> bytes | None:
        """The body of the next Data frame; None when the peer has ended the stream.

        Raises:
            CallFailed: the peer ended it with an error.
            ConnectionLost: the connection ended first.
        """
        while not self._frames:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        frame = self._frames.popleft()
        if isinstance(frame, ConnectionLost):
            self._ended = True
            raise frame
        if frame.type == ttrpc.RESPONSE:
            self._ended = True
            result(frame)
            return None
        before, self._unread = self._unread, self._unread - len(frame.data)
        if before > _STREAM_BUFFER >= self._unread:
            self._session.read_on(True)
        return frame.data

    async def send(self, body: bytes) -> None:
        """Waits while the peer does not read."""
        self._session.send(self._id, body)
        await self._session.drain()

    def end(self) -> None:
        """Wake a waiting `receive` for good; the connection stays."""
        self._session.abandon(self._id)
        self._ended = True
        self._frames.clear()
        self._arrived.set()

    def _receive(self, frame: ttrpc.Frame | ConnectionLost) -> None:
        if self._ended:
            return
        self._frames.append(frame)
        if not isinstance(frame, ConnectionLost):
            before, self._unread = self._unread, self._unread + len(frame.data)
            if before <= _STREAM_BUFFER < self._unread:
                self._session.read_on(False)
        self._arrived.set()


async def connect(path: Path, *, timeout: float) -> Session:
    """A session over the unix socket `path`.

    Raises:
        OSError: nobody listens there, or not within `timeout` seconds (TimeoutError).
    """
    return await over(sockets.connect(path), timeout=timeout)


async def over(dialing: Awaitable[socket.socket], *, timeout: float) -> Session:
    """A session over the socket that `dialing` gives. Raises OSError, as that does."""
    async with asyncio.timeout(timeout):
        sock = await dialing
        _, session = await asyncio.get_running_loop().create_connection(Session, sock=sock)
    return session


def request(
    service: str, method: str, payload: bytes = b"", *, timeout: float | None = None
) -> bytes:
    """The body of a Request frame."""
    return message("Request")(
        service=service,
        method=method,
        payload=payload,
        timeout_nano=int(timeout * 1e9) if timeout else 0,
    ).encode()


def result(frame: ttrpc.Frame) -> bytes:
    """The payload of a Response frame. Raises CallFailed."""
    if frame.oversized:
        raise CallFailed(
            ttrpc.RESOURCE_EXHAUSTED, f"an answer of {frame.oversized} bytes is too long"
        )
    if frame.type != ttrpc.RESPONSE:
        raise CallFailed(ttrpc.INTERNAL, "the answer to a unary call is a stream")
    try:
        response = message("Response").decode(frame.data)
    except ValueError:
        raise CallFailed(ttrpc.INTERNAL, "the answer cannot be decoded") from None
    if response.status.code != ttrpc.OK:
        raise CallFailed(response.status.code, response.status.message[:_STATUS_CHARS])
    payload: bytes = response.payload
    return payload


def _ignore(_frame: ttrpc.Frame | ConnectionLost) -> None:
    pass
