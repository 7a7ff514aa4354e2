"""The channel on which hyperstart mixes the streams of all processes (sheet §5), taken apart."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import Final, cast

from vctui.linux import sockets
from vctui.wire import hyperstart, monitor

_FIRST: Final = 4
"""1 and 2 are a cc-proxy's for output that nobody wants."""
_HIGH: Final = 1024 * 1024
"""Bytes of output that nobody has taken at which the channel is not read any more."""
_INPUT: Final = 512
"""Bytes of input at once: hyperstart has room for as many, and drops what is over."""
_ECHO: Final = 0.2
"""Seconds for the echo of an empty frame, which a hyperstart with much to send forgets."""


class HyperStream:
    """The streams of one process."""

    def __init__(self, stdio: int, stderr: int) -> None:
        self.stdio = stdio
        self.stderr = stderr
        self.output: deque[tuple[int, bytes]] = deque()
        """Pairs of stream and bytes."""
        self.arrived = asyncio.Event()
        self.has_ended = False
        """All output has come."""
        self.is_known = asyncio.Event()
        """The guest has begun the process, or has refused to: before, hyperstart takes its input
        for nobody's, and says so with a frame like that which ends the output."""
        self.echo = asyncio.Event()
        self.exit: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()


def number(token: str) -> int:
    """Of a process's standard input and output; standard error is the next one. Even, so that no
    two processes meet, and small enough for parsers that read numbers as floating point."""
    digest = hashlib.sha256(token.encode()).digest()
    return _FIRST + (int.from_bytes(digest[:6], "big") & ~1)


class Streams(asyncio.Protocol):
    """Lives as long as the monitor; connections to the channel come and go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._by_token: dict[str, HyperStream] = {}
        self._by_number: dict[int, HyperStream] = {}
        self._held = 0
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_ragged = False
        self._decoder = hyperstart.StreamDecoder()
        self.lost: asyncio.Future[hyperstart.HyperstartError | None] = self._loop.create_future()

    def open(self, token: str, *, terminal: bool) -> HyperStream:
        """The streams of a process; who asks first makes them. Their numbers come of the token, so
        that a monitor which takes over knows them."""
        stream = self._by_token.get(token)
        if stream is None:
            stdio = number(token)
            stream = HyperStream(stdio, 0 if terminal else stdio + 1)
            self._by_token[token] = stream
            self._by_number[stdio] = self._by_number[stdio + 1] = stream
        return stream

    def begun(self, token: str) -> None:
        """The guest has started the process."""
        stream = self._by_token.get(token)
        if stream is not None:
            stream.is_known.set()

    def fail(self, token: str) -> None:
        """The process was not started: nothing comes of it."""
        stream = self._by_token.get(token)
        if stream is not None:
            stream.has_ended = True
            stream.is_known.set()
            if not stream.exit.done():
                stream.exit.set_result(None)
            stream.arrived.set()

    def forget(self, token: str) -> None:
        stream = self._by_token.pop(token, None)
        if stream is not None:
            for number in (stream.stdio, stream.stdio + 1):
                self._by_number.pop(number, None)
            self.taken(sum(len(data) for _, data in stream.output))
            stream.output.clear()

    def exited(self, token: str, status: int) -> None:
        stream = self._by_token.get(token)
        if stream is not None and not stream.exit.done():
            stream.exit.set_result(status & 0xFF)

    async def write(self, stream: HyperStream, data: bytes, *, paced: bool) -> None:
        """Input for a process; waits while the guest does not read the channel.

        Args:
            paced: the guest keeps `_INPUT` bytes for a process and drops what is over. It answers
                input for nobody, such as an empty frame by the number of standard error, with an
                empty one, and when it has come to that, it has passed on what was before.
        """
        await stream.is_known.wait()
        if not paced:
            for piece in hyperstart.input_pieces(data):
                if stream.has_ended or not self._is_open():
                    return
                await self._send(hyperstart.encode_stream(stream.stdio, piece))
            return
        for at in range(0, len(data), _INPUT):
            frame = hyperstart.encode_stream(stream.stdio, data[at : at + _INPUT])
            stream.echo.clear()
            while not stream.has_ended and self._is_open():
                await self._send(frame + hyperstart.encode_stream(stream.stdio + 1))
                if await self._echoed(stream):
                    break
                frame = b""

    async def finish(self, token: str) -> None:
        """The end of the input of a process that was started."""
        await self._send(hyperstart.encode_stream(number(token)))

    async def _echoed(self, stream: HyperStream) -> bool:
        try:
            async with asyncio.timeout(_ECHO):
                await stream.echo.wait()
        except TimeoutError:
            return False
        return True

    def _is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def _send(self, frames: bytes) -> None:
        async with self._turn:
            if self._transport is not None and self._is_ragged:
                await sockets.drained(self._transport)
            if self._transport is None or self._transport.is_closing():
                return
            self._is_ragged = hyperstart.is_ragged(len(frames))
            self._transport.write(frames)
            await self._writable.wait()

    def taken(self, count: int) -> None:
        """So much output has found its place."""
        before, self._held = self._held, self._held - count
        if before > _HIGH >= self._held and self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # no frame is written in parts
        self._is_ragged = False
        self._decoder = hyperstart.StreamDecoder()
        self._writable.set()
        self.lost = self._loop.create_future()
        if self._held > _HIGH:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for one in self._decoder.feed(data):
                self._take(one)
        except hyperstart.HyperstartError as error:
            self._end(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(None)

    def _end(self, error: hyperstart.HyperstartError | None) -> None:
        self._writable.set()
        if not self.lost.done():
            self.lost.set_result(error)
        if self._transport is not None:
            self._transport.abort()

    def _take(self, one: hyperstart.Stream) -> None:
        stream = self._by_number.get(one.sequence)
        if stream is None:
            return
        is_stdio = one.sequence == stream.stdio
        if is_stdio and stream.has_ended:
            if len(one.data) == 1 and not stream.exit.done():
                stream.exit.set_result(one.data[0])
        elif not one.data:
            stream.has_ended = stream.has_ended or is_stdio
            stream.echo.set()
        else:
            kind = monitor.STDOUT if is_stdio else monitor.STDERR
            stream.output.append((kind, one.data))
            before, self._held = self._held, self._held + len(one.data)
            if before <= _HIGH < self._held and self._transport is not None:
                self._transport.pause_reading()
        stream.arrived.set()
