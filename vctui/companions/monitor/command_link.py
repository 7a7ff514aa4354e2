"""What the ways to hyperstart's protocol have in common: how clients ask.

They ask by ttrpc like those of other agents: service SERVICE, the command's name as method, and as
payload JSON of `Ask`. What starts a process names a token; the numbers of its streams are ours to
give, or a cc-proxy's.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec

from vctui.companions.monitor.link import Link
from vctui.drivers.ttrpc_client import CallFailed, Receive
from vctui.wire import hyperstart, monitor, ttrpc
from vctui.wire.proto import message


class Ask(msgspec.Struct, frozen=True):
    """What a client asks for."""

    token: str = ""
    """Of the process that the command starts."""
    end_input: bool = False
    """Nobody will ever type at it."""
    data: dict[str, Any] = {}
    """The command's own JSON."""
    file: bytes | None = None
    """What is to be in the file that the command writes."""


class CommandLink(Link):
    protocol = monitor.HYPERSTART

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self._calls: set[asyncio.Task[None]] = set()

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """A command by its name. Raises CallFailed, ConnectionLost."""
        if service != hyperstart.SERVICE:
            raise CallFailed(ttrpc.UNIMPLEMENTED, f"hyperstart has no service {service}")
        if method not in hyperstart.COMMANDS:
            raise CallFailed(ttrpc.UNIMPLEMENTED, f"hyperstart has no command {method}")
        try:
            ask = msgspec.json.decode(payload or b"{}", type=Ask)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CallFailed(ttrpc.INVALID_ARGUMENT, f"{method}: {error}") from None
        if not self._ready.is_set():
            raise self._out_of_reach()
        return await self._ask(method, ask)

    @abstractmethod
    async def _ask(self, method: str, ask: Ask) -> bytes:
        """Raises CallFailed, ConnectionLost."""

    def begin(self, body: bytes, flags: int, receive: Receive) -> int:
        """Take a client's request; its answer goes to `receive`."""
        task = asyncio.create_task(self._answer(body, receive))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return 0

    async def close(self) -> None:
        for task in self._calls:
            task.cancel()

    async def _answer(self, body: bytes, receive: Receive) -> None:
        try:
            request = message("Request").decode(body)
            response = message("Response")(
                payload=await self.call(request.service, request.method, request.payload)
            )
        except (CallFailed, ValueError) as error:
            code = error.code if isinstance(error, CallFailed) else ttrpc.INVALID_ARGUMENT
            status = message("Status")(code=code, message=str(error))
            response = message("Response")(status=status)
        receive(ttrpc.Frame(0, ttrpc.RESPONSE, response.encode()))
