"""The monitor's own calls (wire/monitor.py)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from vctui.companions.monitor.attachment import Attachment, Target
from vctui.drivers.ttrpc_client import CallFailed
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.companions.monitor.client import Client
    from vctui.companions.monitor.fanout import Fanout
    from vctui.companions.monitor.link import Link
    from vctui.companions.monitor.processes import Processes

_Payload = TypeVar("_Payload", bound=msgspec.Struct)


class MonitorService:
    def __init__(
        self,
        *,
        pod_id: str,
        agent: Link,
        processes: Processes,
        console: Target,
        console_output: Fanout,
        prepared: asyncio.Future[None],
        machine_ended: asyncio.Future[str],
        channel: Callable[[], str],
        quit: Callable[[], None],  # noqa: A002 - the call's name
    ) -> None:
        """
        Args:
            channel: what is seen of the guest's end of the agent's channel, in words.
        """
        self.clients: set[Client] = set()
        self._pod_id = pod_id
        self._agent = agent
        self._processes = processes
        self._console = console
        self._console_output = console_output
        self._prepared = prepared
        self._machine_ended = machine_ended
        self._channel = channel
        self._quit = quit

    async def call(self, method: str, payload: bytes) -> bytes:
        """Raises CallFailed."""
        match method:
            case "Hello":
                await asyncio.shield(self._prepared)
                return self._hello()
            case "AwaitAgent":
                return await self._await_agent(decode(payload, monitor.AwaitAgent))
            case "StartShim":
                return await self._start_shim(decode(payload, monitor.StartShim))
            case "WaitExit":
                return await self._wait_exit(decode(payload, monitor.WaitExit))
            case "Quit":
                self._quit()
                return b""
            case _:
                raise _no_such_call(method)

    def attach(self, client: Client, stream_id: int, method: str, payload: bytes) -> Attachment:
        """Raises CallFailed."""
        match method:
            case "Attach":
                return self._attach(client, stream_id, decode(payload, monitor.Attach))
            case "Console":
                return self._attach_console(client, stream_id, decode(payload, monitor.Console))
            case _:
                raise _no_such_call(method)

    def _hello(self, pid: int = 0) -> bytes:
        return msgspec.json.encode(
            monitor.Hello(
                pid=pid or os.getpid(),
                pod_id=self._pod_id,
                agent_open=self._agent.is_ready,
                protocol=self._agent.protocol,
                agent_url=self._agent.url,
            )
        )

    async def _await_agent(self, wanted: monitor.AwaitAgent) -> bytes:
        ready = asyncio.create_task(self._agent.ready())
        hopeless = asyncio.create_task(self._agent.hopeless())
        any_of: set[asyncio.Future[Any]] = {ready, hopeless, self._machine_ended}
        try:
            await asyncio.wait(any_of, timeout=wanted.timeout, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return self._hello()
        finally:
            ready.cancel()
            hopeless.cancel()
        if self._machine_ended.done():
            raise CallFailed(ttrpc.UNAVAILABLE, self._machine_ended.result())
        if self._agent.given_up:
            raise CallFailed(ttrpc.FAILED_PRECONDITION, self._agent.given_up)
        raise CallFailed(ttrpc.DEADLINE_EXCEEDED, self._channel())

    async def _start_shim(self, wanted: monitor.StartShim) -> bytes:
        await asyncio.shield(self._prepared)
        if self._machine_ended.done():
            raise CallFailed(ttrpc.UNAVAILABLE, self._machine_ended.result())
        return self._hello(await self._processes.start(wanted))

    async def _wait_exit(self, wanted: monitor.WaitExit) -> bytes:
        await asyncio.shield(self._prepared)
        shim = self._processes.get(wanted.token)
        if shim is None:
            raise _no_such_process(wanted.token)
        return msgspec.json.encode(await asyncio.shield(shim.exit))

    def _attach(self, client: Client, stream_id: int, wanted: monitor.Attach) -> Attachment:
        shim = self._processes.get(wanted.token)
        if shim is None:
            raise _no_such_process(wanted.token)
        if not shim.is_attachable:
            raise CallFailed(ttrpc.NOT_FOUND, f"the process {wanted.token!r} has ended")
        attachment = Attachment(client, stream_id, shim.output, shim, how_ended=shim.exit.result)
        attachment.accept()
        if wanted.rows > 0 and wanted.columns > 0:
            attachment.resize(monitor.Size(wanted.rows, wanted.columns))
        shim.join(attachment, wanted.replay)
        return attachment

    def _attach_console(
        self, client: Client, stream_id: int, wanted: monitor.Console
    ) -> Attachment:
        attachment = Attachment(
            client, stream_id, self._console_output, self._console, how_ended=self._how_ended
        )
        attachment.accept()
        self._console_output.join(attachment, wanted.replay)
        return attachment

    def _how_ended(self) -> monitor.Exit:
        ended = self._machine_ended
        return monitor.Exit(None, ended.result() if ended.done() else "the monitor has left")


def decode(payload: bytes, kind: type[_Payload]) -> _Payload:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallFailed(ttrpc.INVALID_ARGUMENT, f"{kind.__name__}: {error}") from None


def _no_such_call(method: str) -> CallFailed:
    return CallFailed(ttrpc.UNIMPLEMENTED, f"{monitor.SERVICE} has no call {method!r}")


def _no_such_process(token: str) -> CallFailed:
    return CallFailed(ttrpc.NOT_FOUND, f"no process {token!r} is known here")
