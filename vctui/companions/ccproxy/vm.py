"""The two channels of a hyperstart guest, and the sessions of its processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from vctui.companions.ccproxy.messages import BadRequest
from vctui.companions.ccproxy.session import Session
from vctui.linux import sockets
from vctui.wire import hyperstart

_CHUNK: Final = 64 * 1024
_FIRST_BASE: Final = 3
"""1 and 2 are those of processes whose output nobody wants."""
NULL_BASE: Final = 1
_STREAMS: Final = 1024
"""Sessions that one guest may have."""


class Vm:
    """
    Args:
        ctl, io: sockets of the guest's serial ports.
    """

    def __init__(self, name: str, ctl: Path, io: Path) -> None:
        self.name = name
        self.lost = asyncio.Event()
        """The guest is gone: nothing will be answered any more."""
        self.sessions: dict[str, Session] = {}
        self._paths = (ctl, io)
        self._ready = asyncio.Event()
        self._asking = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._is_ragged = False
        self._answer: asyncio.Future[hyperstart.Control] | None = None
        self._by_sequence: dict[int, Session] = {}
        self._next_base = _FIRST_BASE
        self._writers: list[asyncio.StreamWriter] = []
        self._readers: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Return when the guest has said that it is ready, however long that takes.

        Raises:
            BadRequest: a socket cannot be reached, or the guest went away.
        """
        try:
            for path, read in zip(self._paths, (self._read_ctl, self._read_io), strict=True):
                sock = await sockets.connect(path)
                reader, writer = await asyncio.open_unix_connection(sock=sock)
                writer.transport.set_write_buffer_limits(0)  # no frame is written in parts
                self._writers.append(writer)
                self._readers.append(asyncio.create_task(self._read(read(reader))))
        except OSError as error:
            self.close()
            raise BadRequest(f"{path} cannot be reached: {error.strerror}") from error
        waits = [asyncio.create_task(self._ready.wait()), asyncio.create_task(self.lost.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.lost.is_set():
            raise BadRequest("the guest went away")

    def close(self) -> None:
        """Let go of the guest, and hang up on its shims. Idempotent."""
        self.lost.set()
        for task in self._readers:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()
        for session in self.sessions.values():
            if session.shim is not None:
                session.shim.hang_up()

    def new_sessions(self, count: int) -> Iterator[Session]:
        """Raises BadRequest where there are too many."""
        if len(self.sessions) + count > _STREAMS:
            raise BadRequest(f"a guest has {_STREAMS} streams at most")
        for _ in range(count):
            session = Session(self._next_base)
            self._next_base += 2
            self.sessions[session.token] = session
            self._by_sequence[session.base] = self._by_sequence[session.base + 1] = session
            yield session

    def drop(self, session: Session) -> None:
        """Nobody needs it any more."""
        self.sessions.pop(session.token, None)
        for sequence in (session.base, session.base + 1):
            self._by_sequence.pop(sequence, None)

    async def ask(self, command: int, payload: bytes = b"") -> bytes:
        """The payload of the guest's acknowledgement; commands wait for each other.

        Raises:
            BadRequest: the guest refused, or is gone, or cannot be sent so much.
        """
        async with self._asking:
            if self.lost.is_set():
                raise BadRequest("the guest is gone")
            try:
                frame = hyperstart.encode_control(command, payload)
            except ValueError as error:
                raise BadRequest(str(error)) from None
            self._answer = asyncio.get_running_loop().create_future()
            self._writers[0].write(frame)
            try:
                answer = await self._answer
            except asyncio.CancelledError:
                if self.lost.is_set():
                    raise BadRequest("the guest is gone") from None
                self.close()  # its answer would be taken for the next one's
                raise
            finally:
                self._answer = None
        if answer.command == hyperstart.ERROR:
            said = answer.payload.decode(errors="replace").rstrip("\0")
            raise BadRequest(f"ERROR received from VM agent, control msg received : {said}")
        return answer.payload

    async def send(self, sequence: int, data: bytes) -> None:
        """Standard input; none of it means its end."""
        writer = self._writers[1]
        async with self._sending:
            for piece in hyperstart.input_pieces(data) if data else (b"",):
                if self._is_ragged:
                    await sockets.drained(writer.transport)
                frame = hyperstart.encode_stream(sequence, piece)
                self._is_ragged = hyperstart.is_ragged(len(frame))
                writer.write(frame)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()

    async def _read(self, reading: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(OSError, hyperstart.HyperstartError):
            await reading
        self.close()

    async def _read_ctl(self, reader: asyncio.StreamReader) -> None:
        decoder = hyperstart.ControlDecoder()
        while chunk := await reader.read(_CHUNK):
            for message in decoder.feed(chunk):
                if message.command == hyperstart.READY:
                    self._ready.set()
                elif message.command in {hyperstart.ACK, hyperstart.ERROR}:
                    self._answered(message)

    def _answered(self, message: hyperstart.Control) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)

    async def _read_io(self, reader: asyncio.StreamReader) -> None:
        decoder = hyperstart.StreamDecoder()
        while chunk := await reader.read(_CHUNK):
            for message in decoder.feed(chunk):
                session = self._by_sequence.get(message.sequence)
                if session is not None:
                    session.take(message.sequence, message.data)
