"""ttrpc: requests to handlers, answers in whatever order they come (sheet §1, §7.2)."""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.guest.loop import Cancelled
from vctui.guest.timeline import now
from vctui.wire import ttrpc
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from vctui.guest.log import Log
    from vctui.guest.loop import Loop, Task, Timer
    from vctui.guest.timeline import Timeline
    from vctui.wire.ttrpc import Frame

    Handler = Callable[[Any, int], Coroutine[Any, Any, Any]]

_MAX_CALLS = 1024


class Method:
    """One entry of the table of services."""

    def __init__(self, request: str, handler: Handler, *, waits: bool = False) -> None:
        self.request = request
        """Name of the request's message."""
        self.handler = handler
        """Given the request and a number for the client's connection; gives a message or None."""
        self.waits = waits
        """It only waits for something, so it ends with the client or at its time-out.
        What changes something goes on then."""


class _Call:
    def __init__(self, name: str, method: Method, task: Task) -> None:
        self.name = name
        self.method = method
        self.begin = now()
        self.task = task
        self.timer: Timer | None = None
        self.counts = 1
        """Among those that run."""


class Server:
    def __init__(
        self,
        loop: Loop,
        log: Log,
        services: Mapping[str, Mapping[str, Method]],
        send: Callable[[bytes], None],
        timeline: Timeline,
    ) -> None:
        self._loop = loop
        self._log = log
        self._services = services
        self._send = send
        self._timeline = timeline
        self._calls: dict[int, _Call] = {}
        self._running = 0
        self._connection = 1

    def lost(self) -> None:
        """The client has left: nobody waits for what it asked."""
        self._connection += 1
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if call.timer is not None:
                call.timer.cancel()
            self._abandon(call)

    def receive(self, frame: Frame) -> None:
        if frame.type != ttrpc.REQUEST:
            return
        stream = frame.stream_id
        if stream == 1 or stream in self._calls:
            self.lost()  # numbers rise from 1 and are never used again, so this client is new
        try:
            name, method, request, timeout = self._decode(frame)
        except AgentError as error:
            self._answer(stream, error=error)
            return
        self._running += 1
        task = self._loop.start(method.handler(request, self._connection))
        call = self._calls[stream] = _Call(name, method, task)
        if timeout > 0:
            call.timer = self._loop.later(timeout / 1e9, lambda: self._expire(stream, call))
        task.then(lambda _: self._finish(stream, call))

    def _decode(self, frame: Frame) -> tuple[str, Method, Any, int]:
        if frame.oversized:
            raise AgentError(
                f"a request of {frame.oversized} bytes is larger than {ttrpc.MAX_DATA}",
                code=ttrpc.RESOURCE_EXHAUSTED,
            )
        if self._running >= _MAX_CALLS:
            raise AgentError(
                f"{_MAX_CALLS} calls wait for an answer already", code=ttrpc.RESOURCE_EXHAUSTED
            )
        try:
            envelope = message("Request").decode(frame.data)
        except ValueError as error:
            raise AgentError(
                f"undecodable request: {error}", code=ttrpc.INVALID_ARGUMENT
            ) from error
        method = self._services.get(envelope.service, {}).get(envelope.method)
        if method is None:
            raise AgentError(
                f"{envelope.service}/{envelope.method} is not implemented",
                code=ttrpc.UNIMPLEMENTED,
            )
        try:
            request = message(method.request).decode(envelope.payload)
        except ValueError as error:
            raise AgentError(
                f"undecodable {method.request}: {error}", code=ttrpc.INVALID_ARGUMENT
            ) from error
        return envelope.method, method, request, envelope.timeout_nano

    def _expire(self, stream: int, call: _Call) -> None:
        if self._calls.get(stream) is not call:
            return
        del self._calls[stream]
        self._abandon(call)
        late = AgentError("the call took longer than it was given", code=ttrpc.DEADLINE_EXCEEDED)
        self._answer(stream, error=late)

    def _abandon(self, call: _Call) -> None:
        """Nobody waits for it any more."""
        if call.method.waits:
            call.task.cancel()
            self._release(call)

    def _release(self, call: _Call) -> None:
        self._running -= call.counts
        call.counts = 0

    def _finish(self, stream: int, call: _Call) -> None:
        self._release(call)
        if not call.method.waits:
            self._timeline.add(call.name, call.begin)
        if call.timer is not None:
            call.timer.cancel()
        error = call.task.error
        if error is not None and not isinstance(error, (AgentError, Cancelled)):
            self._log.bug(call.method.request, error)
        if self._calls.get(stream) is not call:
            return  # its client has left, or had its answer
        del self._calls[stream]
        if isinstance(error, AgentError):
            self._answer(stream, error=error)
        elif error is not None:
            text = f"{type(error).__name__}: {error}"
            self._answer(stream, error=AgentError(text, code=ttrpc.INTERNAL))
        else:
            answer = call.task.result()
            self._answer(stream, payload=b"" if answer is None else answer.encode())

    def _answer(
        self, stream: int, *, payload: bytes = b"", error: AgentError | None = None
    ) -> None:
        response = message("Response")(payload=payload)
        if error is not None:
            if self._log.level <= 10:
                self._log.debug(f"stream {stream}: {error.code} {error}")
            response = message("Response")(
                status=message("Status")(code=error.code, message=str(error))
            )
        data = response.encode()
        if len(data) > ttrpc.MAX_DATA:
            too_long = AgentError("the answer is too long", code=ttrpc.RESOURCE_EXHAUSTED)
            self._answer(stream, error=too_long)
            return
        self._send(ttrpc.encode(stream, ttrpc.RESPONSE, data))
