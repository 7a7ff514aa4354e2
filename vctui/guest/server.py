"""ttrpc: frames to calls, answers to frames (sheet §1, §7.2)."""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.guest.calls import Calls
from vctui.wire import ttrpc
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vctui.guest.calls import Services
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.timeline import Timeline
    from vctui.wire.ttrpc import Frame


class Server(Calls):
    def __init__(
        self,
        loop: Loop,
        log: Log,
        services: Services,
        send: Callable[[bytes], None],
        timeline: Timeline,
        *,
        connection: int = 1,
    ) -> None:
        super().__init__(loop, log, services, timeline, connection=connection)
        self._send = send

    def receive(self, frame: Frame) -> None:
        if frame.type != ttrpc.REQUEST:
            return
        stream = frame.stream_id
        if stream == 1 or stream in self._calls:
            self.lost()  # numbers rise from 1 and are never used again, so this client is new
        if frame.oversized:
            self.answer(
                stream,
                b"",
                AgentError(
                    f"a request of {frame.oversized} bytes is larger than {ttrpc.MAX_DATA}",
                    code=ttrpc.RESOURCE_EXHAUSTED,
                ),
            )
            return
        try:
            envelope = message("Request").decode(frame.data)
        except ValueError as error:
            undecodable = AgentError(f"undecodable request: {error}", code=ttrpc.INVALID_ARGUMENT)
            self.answer(stream, b"", undecodable)
            return
        self.begin(
            stream, envelope.service, envelope.method, envelope.payload, envelope.timeout_nano
        )

    def answer(self, stream: int, payload: bytes, error: AgentError | None) -> None:
        response = message("Response")(payload=payload)
        if error is not None:
            response = message("Response")(
                status=message("Status")(code=error.code, message=str(error))
            )
        data = response.encode()
        if len(data) > ttrpc.MAX_DATA:
            too_long = AgentError("the answer is too long", code=ttrpc.RESOURCE_EXHAUSTED)
            self.answer(stream, b"", too_long)
            return
        self._send(ttrpc.encode(stream, ttrpc.RESPONSE, data))
