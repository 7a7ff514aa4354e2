"""The way to an agent that speaks hyperstart's protocol (hyperstart sheet): a channel of commands
that are answered in order, and a channel on which the streams of all processes are mixed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from vctui.companions.monitor.command_link import Ask, CommandLink
from vctui.companions.monitor.hyper_streams import Streams, number
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import sockets
from vctui.wire import hyperstart, monitor, ttrpc

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile
    from vctui.companions.monitor.standin import OnEnd, StandIn

_AGAIN: Final = 0.1
_GREETING: Final = 1.0
"""Seconds to wait for READY, which may have been said to somebody before us; then a ping."""
_ANSWER: Final = 60.0
"""Seconds for one command: a machine that is emulated is slow, and a new process may take 15 s."""
_ERROR_CHARS: Final = 4096


class HyperLink(CommandLink):
    """Keeps both channels for as long as the machine lives."""

    def __init__(self, control: Path, streams: Path, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self._control = control
        self._stream_path = streams
        self._turn = asyncio.Lock()
        self._commands: _Commands | None = None
        self.streams = Streams()
        self.version: int | None = None
        """Of the agent's API; None for Clear Containers' agent, which does not say."""

    def _hang_up(self) -> None:
        if self._commands is not None:
            self._commands.abort()

    async def _ask(self, method: str, ask: Ask) -> bytes:
        if method == "version":
            return b"" if self.version is None else str(self.version).encode()
        data = ask.data
        if ask.token and isinstance(process := data.get("process"), dict):
            process["stdio"] = number(ask.token)
            if not process.get("terminal"):
                process["stderr"] = number(ask.token) + 1
        body = msgspec.json.encode(data) if data else b""
        if ask.file is not None:
            try:
                body = hyperstart.encode_file(body, ask.file)
            except ValueError as error:
                raise CallFailed(ttrpc.INVALID_ARGUMENT, str(error)) from None
        try:
            answer = await self._command(hyperstart.COMMANDS[method], body)
        except CallFailed:
            if ask.token:
                self.streams.fail(ask.token)
            raise
        if ask.token:
            self.streams.begun(ask.token)
        if ask.end_input:  # which other input may keep waiting
            ending = asyncio.create_task(self.streams.finish(ask.token))
            self._calls.add(ending)
            ending.add_done_callback(self._calls.discard)
        return answer

    async def resize(self, container_id: str, token: str, rows: int, columns: int) -> None:
        """Raises CallFailed."""
        size: dict[str, Any] = {"row": rows, "column": columns}
        if self.version is not None and self.version >= hyperstart.API_EVENTS:
            size |= {"container": container_id, "process": token}
        else:
            size |= {"seq": number(token)}
        await self._command(hyperstart.WINDOW_SIZE, msgspec.json.encode(size))

    async def run(self, *, adopting: bool) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            await self._port.wait()
            try:
                await self._converse()
            except OSError:
                pass
            except hyperstart.HyperstartError as error:
                self._warn(f"the guest broke hyperstart's protocol: {error}; restart the pod")
                self._give_up(f"the guest broke hyperstart's protocol: {error}")
                return
            finally:
                self._ready.clear()
            await asyncio.sleep(_AGAIN)  # QEMU serves the next client when the last is gone

    def stand_in(
        self,
        start: monitor.StartShim,
        *,
        adopting: bool,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> StandIn:
        from vctui.companions.monitor.hyper_shim import HyperShim

        return HyperShim(
            start,
            link=self,
            adopting=adopting,
            log=log,
            replay_bytes=replay_bytes,
            on_end=on_end,
        )

    async def close(self) -> None:
        await super().close()
        if self._commands is not None:
            self._commands.abort()
        self.streams.abort()

    async def _converse(self) -> None:
        """One connection to each channel, to their end. Raises OSError, HyperstartError."""
        loop = asyncio.get_running_loop()
        commands = _Commands(self._ended)
        self._commands = commands
        control, streams = None, None
        try:
            control, _ = await loop.create_connection(
                lambda: commands, sock=await sockets.connect(self._control)
            )
            streams, _ = await loop.create_connection(
                lambda: self.streams, sock=await sockets.connect(self._stream_path)
            )
            greeting = asyncio.create_task(self._greet(commands))
            try:
                over: set[asyncio.Future[Any]] = {commands.lost, self.streams.lost}
                await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            finally:
                greeting.cancel()
                await asyncio.gather(greeting, return_exceptions=True)
            for lost in (commands.lost, self.streams.lost):
                if lost.done() and (error := lost.result()) is not None:
                    raise error
        finally:
            commands.abort()
            for transport in (control, streams):
                if transport is not None:
                    transport.abort()

    async def _greet(self, commands: _Commands) -> None:
        """The agent is there when it has said so, or answered; then its version decides."""
        while True:
            try:
                async with asyncio.timeout(_GREETING):
                    await commands.greeted.wait()
                    break
            except TimeoutError:
                commands.send(hyperstart.PING)
        try:
            said = await self._command(hyperstart.GET_VERSION)
            self.version = int.from_bytes(said[:4], "big") if len(said) >= 4 else None
        except CallFailed:
            self.version = None
        commands.all_pings_are_answered()
        self.logs_plainly = self.version is not None
        self._ready.set()

    async def _command(self, command: int, body: bytes = b"") -> bytes:
        """Raises CallFailed, ConnectionLost."""
        async with self._turn:  # answers have no number: one question at a time
            commands = self._commands
            if commands is None or commands.lost.done():
                raise ConnectionLost("the agent's channel was closed")
            try:
                answer = commands.ask(command, body)
            except ValueError as error:
                raise CallFailed(ttrpc.RESOURCE_EXHAUSTED, str(error)) from None
            try:
                async with asyncio.timeout(_ANSWER):
                    return await answer
            except TimeoutError:
                commands.abort()  # what comes now would be taken for the next one's answer
                raise ConnectionLost(f"the agent did not answer within {_ANSWER:g} s") from None

    def _ended(self, payload: bytes) -> None:
        """hyperstart's event of a process that has ended."""
        try:
            event = msgspec.json.decode(payload, type=_Ended)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self.streams.exited(event.process, event.status)


_PONG: Final = hyperstart.Control(hyperstart.ACK)


class _Ended(msgspec.Struct):
    process: str
    status: int


class _Commands(asyncio.Protocol):
    """The channel of commands: one question under way, events between."""

    def __init__(self, ended: Callable[[bytes], None]) -> None:
        self._decoder = hyperstart.ControlDecoder()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._pings = 0
        self._ended = ended
        self.greeted = asyncio.Event()
        self.lost: asyncio.Future[hyperstart.HyperstartError | None] = (
            asyncio.get_running_loop().create_future()
        )

    def ask(self, command: int, body: bytes) -> asyncio.Future[bytes]:
        """Raises ValueError for what does not fit a frame."""
        frame = hyperstart.encode_control(command, body)
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is not None:
            self._transport.write(frame)
        return self._answer

    def send(self, command: int) -> None:
        """Ask without waiting; the answer is a greeting."""
        self._pings += 1
        if self._transport is not None:
            self._transport.write(hyperstart.encode_control(command))

    def all_pings_are_answered(self) -> None:
        """What was asked after them is; some may have come before anybody was there."""
        self._pings = 0

    def abort(self, error: hyperstart.HyperstartError | None = None) -> None:
        if self.lost.done():
            return
        self.lost.set_result(error)
        if self._transport is not None:
            self._transport.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLost("the agent's channel was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for one in self._decoder.feed(data):
                self._take(one)
        except hyperstart.HyperstartError as error:
            self.abort(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort()

    def _take(self, one: hyperstart.Control) -> None:
        if one.command == hyperstart.READY:
            self.greeted.set()
        elif one.command == hyperstart.PROCESS_ENDED:
            self._ended(one.payload)
        elif one.command in {hyperstart.ACK, hyperstart.ERROR}:
            asked = self._answer is not None and not self._answer.done()
            if self._pings and (not asked or one == _PONG):  # no version is empty
                self._pings -= 1
                self.greeted.set()
            elif self._answer is not None and asked:
                self._conclude(self._answer, one)

    def _conclude(self, answer: asyncio.Future[bytes], one: hyperstart.Control) -> None:
        if one.command == hyperstart.ACK:
            answer.set_result(one.payload)
            return
        text = one.payload.rstrip(b"\0").decode("utf-8", "replace")[:_ERROR_CHARS]
        answer.set_exception(
            CallFailed(ttrpc.INTERNAL, text or "it gives no reason; the pod's console may")
        )
