"""gRPC for the agent: unary calls over HTTP/2, each client on a yamux stream of the one channel
(kata-agent gRPC sheet, §1, §8.4).

Only a guest that was asked for it imports this: h2 costs a third of a second of emulated time.
"""

from __future__ import annotations

import struct
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from vctui.errors import AgentError
from vctui.guest.calls import Calls
from vctui.wire import ttrpc, yamux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vctui.guest.calls import Services
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.timeline import Timeline

MAX_REQUEST = 4 * 1024 * 1024
"""What a gRPC server takes by default."""
_WINDOW = 1024 * 1024
_PREFIX = struct.Struct(">BI")
_MESSAGE_CHARS = 1024
_NANOSECONDS = {
    "n": 1,
    "u": 1_000,
    "m": 1_000_000,
    "S": 1_000_000_000,
    "M": 60_000_000_000,
    "H": 3_600_000_000_000,
}
_FIRST = bytes((0, yamux.WINDOW, 0, yamux.SYN, 0, 0, 0, 1))
"""How a host's first stream begins."""
_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


class _Request:
    def __init__(self, path: str, timeout: int) -> None:
        self.path = path
        self.timeout = timeout
        self.body = bytearray()


class _Answer:
    """What is left to be sent of an answer."""

    def __init__(self, body: bytes) -> None:
        self.rest = memoryview(body)


class Connection(Calls):
    """One HTTP/2 connection: bytes in and out, calls between them."""

    def __init__(
        self,
        loop: Loop,
        log: Log,
        services: Services,
        send: Callable[[bytes], None],
        timeline: Timeline,
        *,
        connection: int,
    ) -> None:
        super().__init__(loop, log, services, timeline, connection=connection)
        self._send = send
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._requests: dict[int, _Request] = {}
        self._answers: dict[int, _Answer] = {}
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW})
        self._http.increment_flow_control_window(_WINDOW)
        self._flush()

    def receive(self, data: bytes) -> bool:
        """False where the client broke the protocol and is to be dropped."""
        try:
            events = self._http.receive_data(data)
            for event in events:
                self._take(event)
        except ProtocolError as error:
            self._log.warning(f"a gRPC client broke HTTP/2: {error}")
            self._flush()
            return False
        self._flush()
        return True

    def answer(self, stream: int, payload: bytes, error: AgentError | None) -> None:
        try:
            if error is None:
                self._http.send_headers(stream, _HEADERS)
                self._answers[stream] = _Answer(_PREFIX.pack(0, len(payload)) + payload)
                self._continue(stream)
            else:
                text = quote(str(error)[:_MESSAGE_CHARS], safe=" !#$&'()*+,/:;=?@[]<>{}|`^\"")
                status = [("grpc-status", str(error.code)), ("grpc-message", text)]
                self._http.send_headers(stream, _HEADERS + status, end_stream=True)
        except (ProtocolError, StreamClosedError):
            self._answers.pop(stream, None)  # the client does not want it any more
        self._flush()

    def _take(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            headers = dict(event.headers)
            path = headers.get(b":path", b"").decode("utf-8", "replace")
            timeout = _timeout(headers.get(b"grpc-timeout", b"").decode("ascii", "replace"))
            self._requests[event.stream_id] = _Request(path, timeout)
        elif isinstance(event, DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            request = self._requests.get(event.stream_id)
            if request is not None:
                request.body += event.data
                if len(request.body) > MAX_REQUEST + _PREFIX.size:
                    del self._requests[event.stream_id]
                    self._refuse(event.stream_id, f"received message larger than {MAX_REQUEST}")
        elif isinstance(event, StreamEnded):
            request = self._requests.pop(event.stream_id, None)
            if request is not None:
                self._start(event.stream_id, request)
        elif isinstance(event, StreamReset):
            self._requests.pop(event.stream_id, None)
            self._answers.pop(event.stream_id, None)
            self.forget(event.stream_id)
        elif isinstance(event, WindowUpdated):
            for stream in (event.stream_id,) if event.stream_id else tuple(self._answers):
                self._continue(stream)
        elif isinstance(event, ConnectionTerminated):
            self.lost()

    def _start(self, stream: int, request: _Request) -> None:
        body = bytes(request.body)
        compressed, length = _PREFIX.unpack_from(body) if len(body) >= _PREFIX.size else (1, 0)
        if compressed or length != len(body) - _PREFIX.size:
            self._refuse(stream, "the request is no plain gRPC message")
            return
        service, _, method = request.path.removeprefix("/").partition("/")
        self.begin(stream, service, method, body[_PREFIX.size :], request.timeout)

    def _refuse(self, stream: int, why: str) -> None:
        self.answer(stream, b"", AgentError(why, code=ttrpc.RESOURCE_EXHAUSTED))

    def _continue(self, stream: int) -> None:
        """Send what the client's windows allow of an answer."""
        answer = self._answers.get(stream)
        if answer is None:
            return
        try:
            while answer.rest:
                room = min(
                    self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size
                )
                if room <= 0:
                    return
                self._http.send_data(stream, bytes(answer.rest[:room]))
                answer.rest = answer.rest[room:]
            self._http.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        except (ProtocolError, StreamClosedError):
            pass  # reset by the client meanwhile
        self._answers.pop(stream, None)

    def _flush(self) -> None:
        if data := self._http.data_to_send():
            self._send(data)


class _Client:
    """A yamux stream with what it cannot take yet."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.waiting = bytearray()


class Multiplex:
    """The channel's bytes ⇄ a gRPC connection for each yamux stream."""

    def __init__(
        self,
        loop: Loop,
        log: Log,
        services: Services,
        send: Callable[[bytes], None],
        timeline: Timeline,
    ) -> None:
        self._timeline = timeline
        self._loop = loop
        self._log = log
        self._services = services
        self._send = send
        self._session = yamux.Session(client=False)
        self._clients: dict[int, _Client] = {}
        self._count = 0

    def lost(self) -> None:
        """The host has left: all its clients have."""
        for stream in tuple(self._clients):
            self._drop(stream)
        self._session = yamux.Session(client=False)

    def receive(self, data: bytes) -> None:
        if self._clients and data.startswith(_FIRST):
            self.lost()  # numbers are never used again, so this host is new and came unnoticed
        try:
            for event in self._session.receive(data):
                self._take(event)
        except yamux.YamuxError as error:
            self._log.warning(f"the host's yamux session is over: {error}")
            self._carry()
            self.lost()
        self._carry()

    def _take(self, event: yamux.Event) -> None:
        stream = event.stream
        if isinstance(event, yamux.Opened):
            client = self._clients[stream] = _Client()
            self._count += 1
            client.connection = Connection(
                self._loop,
                self._log,
                self._services,
                lambda data: self._queue(stream, data),
                self._timeline,
                connection=self._count,
            )
        elif isinstance(event, yamux.Data):
            self._session.consumed(stream, len(event.data))
            connection = self._clients[stream].connection
            if connection is not None and not connection.receive(event.data):
                self._session.reset(stream)
                self._drop(stream)
        elif isinstance(event, yamux.Writable):
            self._push(stream)
        elif isinstance(event, (yamux.Ended, yamux.Reset)):
            self._session.reset(stream)
            self._drop(stream)

    def _queue(self, stream: int, data: bytes) -> None:
        client = self._clients.get(stream)
        if client is not None:
            client.waiting += data
            self._push(stream)
            self._carry()

    def _push(self, stream: int) -> None:
        waiting = self._clients[stream].waiting
        if waiting:
            del waiting[: self._session.send(stream, bytes(waiting))]

    def _drop(self, stream: int) -> None:
        client = self._clients.pop(stream, None)
        if client is not None and client.connection is not None:
            client.connection.lost()

    def _carry(self) -> None:
        if data := self._session.take():
            self._send(data)


def _timeout(text: str) -> int:
    """Nanoseconds of a grpc-timeout header, 0 for none."""
    unit = _NANOSECONDS.get(text[-1:], 0)
    return int(text[:-1]) * unit if unit and text[:-1].isdecimal() and len(text) <= 9 else 0
