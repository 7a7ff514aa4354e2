"""The server's half of yamux as a kata-agent has it (kata-agent gRPC sheet, §8.4), for tests.

It knows nothing of vctui's own half. Each stream is copied to and from a unix socket of its own,
and what a client does against the tables is kept in `sins`, after the reaction that they name.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from pathlib import Path

HEADER = struct.Struct(">BBHII")
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
MAX_WINDOW = 262144
BACKLOG = 256
PROTOCOL_ERROR = 1


class Over(Exception):
    """The session is torn down."""


class Stream:
    def __init__(self, number: int) -> None:
        self.number = number
        self.receivable = MAX_WINDOW
        self.unannounced = 0
        self.sendable = MAX_WINDOW
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.they_ended = False
        self.we_ended = False
        self.task: asyncio.Task[None] | None = None


class YamuxServer:
    """One session over one connection; `run` returns when that is over.

    Args:
        target: socket that each stream is copied to.
        keepalive: seconds between pings of our own, 0 for none (agents since 1.2).
        patience: seconds for the answer to one.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        target: Path,
        *,
        keepalive: float = 0.0,
        patience: float = 10.0,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._target = target
        self._keepalive = keepalive
        self._patience = patience
        self._pongs: dict[int, asyncio.Event] = {}
        self.streams: dict[int, Stream] = {}
        self.opened: list[int] = []
        """Numbers of all streams that the client has opened."""
        self.sins: list[str] = []
        self.pings_answered = 0
        self.gone_away = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        pinging = asyncio.create_task(self._ping()) if self._keepalive else None
        try:
            while True:
                header = await self._reader.readexactly(HEADER.size)
                await self._take(*HEADER.unpack(header))
        except (asyncio.IncompleteReadError, ConnectionError, Over):
            pass
        finally:
            tasks = {*self._tasks, *((pinging,) if pinging else ())}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writer.transport.abort()

    def go_away(self, code: int = 0) -> None:
        self.gone_away = True
        self._send(GO_AWAY, 0, 0, code)

    def hang_up(self) -> None:
        """Nothing more comes or goes."""
        self._writer.transport.abort()

    def reset(self, number: int) -> None:
        """Abort a stream."""
        stream = self.streams.pop(number)
        self._send(WINDOW, RST, number, 0)
        if stream.task is not None:
            stream.task.cancel()

    async def _ping(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(self._keepalive)
            number += 1
            pong = self._pongs[number] = asyncio.Event()
            self._send(PING, SYN, 0, number)
            try:
                async with asyncio.timeout(self._patience):
                    await pong.wait()
            except TimeoutError:
                self.sins.append("a ping was not answered")
                self._writer.transport.abort()
                return
            self.pings_answered += 1

    def _send(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(HEADER.pack(0, kind, flags, stream, length) + body)

    def _die(self, why: str) -> Over:
        self.sins.append(why)
        self._send(GO_AWAY, 0, 0, PROTOCOL_ERROR)
        return Over(why)

    async def _take(self, version: int, kind: int, flags: int, number: int, length: int) -> None:
        if version != 0 or kind > GO_AWAY:
            self.sins.append(f"version {version}, type {kind}")
            raise Over
        if kind == PING:
            if flags & SYN:
                self._send(PING, ACK, 0, length)
            elif waiting := self._pongs.get(length):
                waiting.set()
            return
        if kind == GO_AWAY:
            if length:
                raise Over
            return
        body = await self._reader.readexactly(length) if kind == DATA else b""
        if flags & SYN:
            self._accept(number)
        stream = self.streams.get(number)
        if stream is None:
            return
        if flags & RST:
            self.streams.pop(number)
            if stream.task is not None:
                stream.task.cancel()
            return
        if kind == DATA:
            if length > stream.receivable:
                raise self._die(f"stream {number} overran its window")
            if stream.they_ended and length:
                raise self._die(f"data after the end of stream {number}")
            stream.receivable -= length
            if body:
                stream.incoming.put_nowait(body)
        elif length:
            stream.sendable += length
            stream.may_send.set()
        if flags & FIN:
            if stream.they_ended:
                raise self._die(f"stream {number} was ended twice")
            stream.they_ended = True
            stream.incoming.put_nowait(b"")
            self._forget_if_over(stream)

    def _accept(self, number: int) -> None:
        if number in self.streams or number == 0:
            raise self._die(f"stream {number} was opened twice")
        if number % 2 == 0:
            raise self._die(f"stream {number} is not the client's to open")
        self.opened.append(number)
        if self.gone_away or len(self.streams) >= BACKLOG:
            self._send(WINDOW, RST, number, 0)
            return
        stream = self.streams[number] = Stream(number)
        stream.task = asyncio.create_task(self._serve(stream))
        self._tasks.add(stream.task)
        stream.task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream) -> None:
        self._send(WINDOW, ACK, stream.number, 0)
        reader, writer = await asyncio.open_unix_connection(str(self._target))
        ways = [
            asyncio.create_task(self._inward(stream, writer)),
            asyncio.create_task(self._outward(stream, reader)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        if stream.number in self.streams and not stream.we_ended:
            stream.we_ended = True
            self._send(WINDOW, FIN, stream.number, 0)
            self._forget_if_over(stream)

    async def _inward(self, stream: Stream, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await stream.incoming.get():
                writer.write(data)
                await writer.drain()
                stream.unannounced += len(data)
                if stream.unannounced >= MAX_WINDOW // 2:
                    stream.receivable += stream.unannounced
                    self._send(WINDOW, 0, stream.number, stream.unannounced)
                    stream.unannounced = 0

    async def _outward(self, stream: Stream, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                while data:
                    while not stream.sendable:
                        stream.may_send.clear()
                        await stream.may_send.wait()
                    part, data = data[: stream.sendable], data[stream.sendable :]
                    stream.sendable -= len(part)
                    self._send(DATA, 0, stream.number, len(part), part)
                    await self._writer.drain()

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.they_ended and stream.we_ended:
            self.streams.pop(stream.number, None)
