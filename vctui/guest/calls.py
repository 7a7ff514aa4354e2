"""Calls of one client: requests to handlers, answers in whatever order they come.

How requests and answers are carried is the business of whoever builds on this.
"""

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

    Handler = Callable[[Any, int], Coroutine[Any, Any, Any]]
    Services = Mapping[str, Mapping[str, "Method"]]

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


class Calls:
    """Base of the ttrpc and the gRPC server; `answer` is theirs."""

    def __init__(
        self,
        loop: Loop,
        log: Log,
        services: Services,
        timeline: Timeline,
        *,
        connection: int = 1,
    ) -> None:
        self._loop = loop
        self._log = log
        self._services = services
        self._timeline = timeline
        self._calls: dict[int, _Call] = {}
        self._running = 0
        self._connection = connection

    def answer(self, stream: int, payload: bytes, error: AgentError | None) -> None:
        raise NotImplementedError

    def forget(self, stream: int) -> None:
        """Nobody waits for the answer to a call any more."""
        call = self._calls.pop(stream, None)
        if call is not None:
            if call.timer is not None:
                call.timer.cancel()
            self._abandon(call)

    def lost(self) -> None:
        """The client has left: nobody waits for what it asked."""
        self._connection += 1
        for stream in tuple(self._calls):
            self.forget(stream)

    def begin(self, stream: int, service: str, name: str, payload: bytes, timeout: int) -> None:
        """Start a call; it is answered even where it cannot be started.

        Args:
            timeout: nanoseconds, 0 for none.
        """
        try:
            method, request = self._look_up(service, name, payload)
        except AgentError as error:
            self.answer(stream, b"", error)
            return
        self._running += 1
        task = self._loop.start(method.handler(request, self._connection))
        call = self._calls[stream] = _Call(name, method, task)
        if timeout > 0:
            call.timer = self._loop.later(timeout / 1e9, lambda: self._expire(stream, call))
        task.then(lambda _: self._finish(stream, call))

    def _look_up(self, service: str, name: str, payload: bytes) -> tuple[Method, Any]:
        if self._running >= _MAX_CALLS:
            raise AgentError(
                f"{_MAX_CALLS} calls wait for an answer already", code=ttrpc.RESOURCE_EXHAUSTED
            )
        method = self._services.get(service, {}).get(name)
        if method is None:
            raise AgentError(f"{service}/{name} is not implemented", code=ttrpc.UNIMPLEMENTED)
        try:
            return method, message(method.request).decode(payload)
        except ValueError as error:
            raise AgentError(
                f"undecodable {method.request}: {error}", code=ttrpc.INVALID_ARGUMENT
            ) from error

    def _expire(self, stream: int, call: _Call) -> None:
        if self._calls.get(stream) is not call:
            return
        del self._calls[stream]
        self._abandon(call)
        late = AgentError("the call took longer than it was given", code=ttrpc.DEADLINE_EXCEEDED)
        self.answer(stream, b"", late)

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
        if error is None:
            answer = call.task.result()
            self.answer(stream, b"" if answer is None else answer.encode(), None)
            return
        if not isinstance(error, AgentError):
            error = AgentError(f"{type(error).__name__}: {error}", code=ttrpc.INTERNAL)
        if self._log.level <= 10:
            self._log.debug(f"stream {stream}: {error.code} {error}")
        self.answer(stream, b"", error)
