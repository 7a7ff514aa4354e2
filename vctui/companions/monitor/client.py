"""One client of monitor.sock: its calls, its streams, and how much it may burden us with."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from vctui.companions.monitor.attachment import Attachment
from vctui.companions.monitor.held import Held
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Receive
from vctui.wire import monitor, proto, ttrpc

_UNSENT_LIMIT: Final = 3 * ttrpc.MAX_DATA
"""Bytes of answers that wait for a client to read them before it is cut off."""
_CALLS: Final = 512
"""Unanswered calls of one client."""
_GOODBYE: Final = 0.2
"""Seconds for calls that are just being answered when the monitor leaves."""

_LAST_BYTES: Final = 1.0
"""Seconds for a client to take what waits for it then."""


class Way(Protocol):
    """The way to the agent."""

    @property
    def is_writable(self) -> bool: ...

    async def drain(self) -> None: ...

    def begin(self, body: bytes, flags: int, receive: Receive) -> int:
        """Raises CallFailed."""

    def send(self, stream_id: int, body: bytes, flags: int) -> None: ...


class Service(Protocol):
    """The monitor's own calls."""

    async def call(self, method: str, payload: bytes) -> bytes:
        """Raises CallFailed."""

    def attach(self, client: Client, stream_id: int, method: str, payload: bytes) -> Attachment:
        """Raises CallFailed."""

    @property
    def clients(self) -> set[Client]: ...


class Client(Held):
    """Serves vctui.Monitor; every other service is the agent's, with the stream ids mapped.

    A client that goes away leaves its calls behind: their answers are dropped as they come.
    Stdio calls for a process that a shim reads are passed on like all others; whoever makes
    them takes output away from the log, and knows it.
    """

    def __init__(self, service: Service, agent: Way) -> None:
        super().__init__()
        self._service = service
        self._agent = agent
        self._decoder = ttrpc.Decoder()
        self._last_id = 0
        self._forwarded: dict[int, int] = {}
        self._attachments: dict[int, Attachment] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._draining: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._service.clients.add(self)

    def data_received(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._take(frame)
        if not self._agent.is_writable and self._draining is None:
            self._draining = asyncio.create_task(self._wait_for_agent())

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.clients.discard(self)
        self._gone.set()
        for attachment in tuple(self._attachments.values()):
            attachment.leave()
        for task in self._calls:
            task.cancel()
        if self._draining is not None:
            self._draining.cancel()

    def pause_writing(self) -> None:
        pass  # what waits is looked at before more is sent

    def resume_writing(self) -> None:
        for attachment in tuple(self._attachments.values()):
            attachment.room_again()

    # what calls and attachments use

    @property
    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, stream_id: int, type_: int, body: bytes, flags: int = 0) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(ttrpc.encode(stream_id, type_, body, flags))
        if self.unsent > _UNSENT_LIMIT:
            self._transport.abort()

    def answer(self, stream_id: int, payload: bytes = b"") -> None:
        body = proto.message("Response")(payload=payload).encode()
        self.send(stream_id, ttrpc.RESPONSE, body)

    def refuse(self, stream_id: int, code: int, message: str) -> None:
        status = proto.message("Status")(code=code, message=message)
        body = proto.message("Response")(status=status).encode()
        self.send(stream_id, ttrpc.RESPONSE, body)

    def detached(self, stream_id: int, attachment: Attachment) -> None:
        self._attachments.pop(stream_id, None)
        self.hold(attachment, False)

    async def close(self) -> None:
        """Let what is answered leave, for a moment, and end the connection."""
        if self._transport is None:
            return
        if self._calls:
            await asyncio.wait(self._calls, timeout=_GOODBYE)
        self._transport.close()
        try:
            async with asyncio.timeout(_LAST_BYTES):
                await self._gone.wait()
        except TimeoutError:
            self._transport.abort()

    # frames

    def _take(self, frame: ttrpc.Frame) -> None:
        if frame.type == ttrpc.DATA:
            self._data(frame)
        elif frame.type == ttrpc.REQUEST:
            self._request(frame)

    def _data(self, frame: ttrpc.Frame) -> None:
        if attachment := self._attachments.get(frame.stream_id):
            attachment.receive(frame)
        elif (mapped := self._forwarded.get(frame.stream_id)) is not None:
            self._agent.send(mapped, frame.data, frame.flags)

    def _request(self, frame: ttrpc.Frame) -> None:
        stream_id = frame.stream_id
        if not stream_id % 2 or stream_id <= self._last_id:
            self.refuse(stream_id, ttrpc.INVALID_ARGUMENT, "stream ids must be odd and increasing")
            return
        self._last_id = stream_id
        if frame.oversized:
            self.refuse(
                stream_id,
                ttrpc.RESOURCE_EXHAUSTED,
                f"a request of {frame.oversized} bytes is over the limit of {ttrpc.MAX_DATA}",
            )
            return
        if len(self._forwarded) + len(self._calls) >= _CALLS:
            self.refuse(stream_id, ttrpc.RESOURCE_EXHAUSTED, f"{_CALLS} calls are unanswered")
            return
        try:
            request = proto.message("Request").decode(frame.data)
        except ValueError:
            self.refuse(stream_id, ttrpc.INVALID_ARGUMENT, "the request cannot be decoded")
            return
        try:
            if request.service != monitor.SERVICE:
                self._forward(frame)
            elif frame.flags & ttrpc.REMOTE_OPEN:
                attachment = self._service.attach(self, stream_id, request.method, request.payload)
                if not attachment.is_closed:
                    self._attachments[stream_id] = attachment
            else:
                call = self._service.call(request.method, request.payload)
                self._spawn(self._answer(stream_id, call))
        except CallFailed as error:
            self.refuse(stream_id, error.code, error.message)

    def _forward(self, frame: ttrpc.Frame) -> None:
        stream_id = frame.stream_id

        def receive(answer: ttrpc.Frame | ConnectionLost) -> None:
            if isinstance(answer, ConnectionLost):
                self._forwarded.pop(stream_id, None)
                self.refuse(stream_id, answer.code, answer.message)
                return
            if answer.type == ttrpc.RESPONSE:
                self._forwarded.pop(stream_id, None)
            if answer.oversized:
                self.refuse(
                    stream_id,
                    ttrpc.RESOURCE_EXHAUSTED,
                    f"the agent's answer of {answer.oversized} bytes is over the limit",
                )
                return
            self.send(stream_id, answer.type, answer.data, answer.flags)

        self._forwarded[stream_id] = self._agent.begin(frame.data, frame.flags, receive)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer(self, stream_id: int, call: Coroutine[Any, Any, bytes]) -> None:
        try:
            payload = await call
        except CallFailed as error:
            self.refuse(stream_id, error.code, error.message)
        except Exception as error:  # a bug in one call must not take the pod's monitor with it
            self.refuse(stream_id, ttrpc.INTERNAL, f"the monitor failed: {error!r}")
        else:
            self.answer(stream_id, payload)

    async def _wait_for_agent(self) -> None:
        """Pass the agent's slowness on to whoever sends to it."""
        self.hold(self._agent, True)
        try:
            await self._agent.drain()
        finally:
            self._draining = None
            self.hold(self._agent, False)
