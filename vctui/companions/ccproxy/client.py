"""One client of the proxy: a runtime's commands, or a shim's streams."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from vctui.companions.ccproxy import messages
from vctui.companions.ccproxy.messages import BadRequest
from vctui.companions.ccproxy.vm import NULL_BASE, Vm
from vctui.wire import ccproxy, hyperstart
from vctui.wire.ccproxy import Command, Frame, Stream, Type

if TYPE_CHECKING:
    from vctui.companions.ccproxy.server import Server
    from vctui.companions.ccproxy.session import Session

_CHUNK: Final = 64 * 1024
_UNSENT: Final = 8 * 1024 * 1024
"""Bytes of output that wait for a shim, before it is taken for dead."""
_MAX_INPUT: Final = hyperstart.MAX_SENT - 12
_SHOWN: Final = 300
"""Bytes of a command in the log."""
_SIGNALS: Final = range(31)
_KILL, _TERM, _WINCH = 9, 15, 28


class BrokenClient(Exception):
    """It does what the protocol does not have; the connection ends."""


class Client:
    """Commands are answered one after the other."""

    def __init__(self, server: Server, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._writer = writer
        self._vm: Vm | None = None
        self._session: Session | None = None

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Until the client leaves, or breaks the protocol."""
        decoder = ccproxy.Decoder()
        try:
            while chunk := await reader.read(_CHUNK):
                for frame in decoder.feed(chunk):
                    await self._take(frame)
        except (BrokenClient, ccproxy.CcProxyError, ConnectionError):
            pass
        finally:
            if self._session is not None and self._session.shim is self:
                self._session.release()
                if self._vm is not None and self._session.is_done:
                    self._vm.drop(self._session)
            self._writer.close()

    # of a session

    def send(self, frame: Frame) -> None:
        if self._writer.transport.get_write_buffer_size() > _UNSENT:
            self.hang_up()
        else:
            self._writer.write(ccproxy.encode(frame))

    def hang_up(self) -> None:
        self._writer.close()

    # frames

    async def _take(self, frame: Frame) -> None:
        if frame.type is Type.STREAM:
            await self._stream(Stream(frame.opcode), frame.payload)
            return
        if frame.type is not Type.COMMAND:
            raise BrokenClient
        command = Command(frame.opcode)
        if command is Command.DISCONNECT_SHIM:
            raise BrokenClient  # it is closed, with no answer
        try:
            if self._server.debug:
                sys.stderr.write(f"{command.name} {frame.payload[:_SHOWN]!r}\n")
            self._answer(command, await self._command(command, frame.payload))
            if command is Command.CONNECT_SHIM and self._session is not None:
                self._session.tell_end()
        except BadRequest as error:
            said = msgspec.json.encode({"msg": str(error)})
            self._answer(command, said, is_error=True)

    def _answer(self, command: Command, payload: bytes, *, is_error: bool = False) -> None:
        self.send(Frame(Type.RESPONSE, command, payload, is_error))

    async def _command(self, command: Command, payload: bytes) -> bytes:
        match command:
            case Command.REGISTER_VM:
                return await self._register(messages.decode(payload, messages.RegisterVm))
            case Command.ATTACH_VM:
                wanted = messages.decode(payload, messages.AttachVm)
                self._vm = self._server.vm(wanted.container_id)
                return self._io(self._vm, wanted.num_io_streams)
            case Command.UNREGISTER_VM:
                self._server.forget(messages.decode(payload, messages.UnregisterVm).container_id)
                return b""
            case Command.HYPER:
                return await self._hyper(messages.decode(payload, messages.Hyper))
            case Command.CONNECT_SHIM:
                self._connect_shim(messages.decode(payload, messages.ConnectShim).token)
                return b""
            case _:
                return await self._signal(messages.decode(payload, messages.Signal))

    # of a runtime

    async def _register(self, wanted: messages.RegisterVm) -> bytes:
        vm = Vm(wanted.container_id, Path(wanted.ctl_serial), Path(wanted.io_serial))
        await self._server.register(vm)
        self._vm = vm
        return self._io(vm, wanted.num_io_streams)

    def _io(self, vm: Vm, streams: int) -> bytes:
        tokens = [one.token for one in vm.new_sessions(streams)] if streams > 0 else None
        answer: dict[str, Any] = {"io": {"URL": self._server.url, "tokens": tokens}}
        return msgspec.json.encode(answer)

    async def _hyper(self, wanted: messages.Hyper) -> bytes:
        if self._vm is None:
            raise BadRequest("register or attach a virtual machine first")
        code = messages.HYPER.get(wanted.hyper_name)
        if code is None:
            raise BadRequest(f"unknown command '{wanted.hyper_name}'")
        data = bytes(wanted.data)
        tokens = wanted.tokens or []
        if wanted.hyper_name not in messages.STARTS:
            if tokens:
                raise BadRequest(f"{wanted.hyper_name} takes no tokens")
            return await self._vm.ask(code, data)
        if len(tokens) > 1:
            raise BadRequest(f"{wanted.hyper_name} takes one token at most")
        session = self._session_of(self._vm, tokens[0]) if tokens else None
        data, container = messages.with_streams(data, session.base if session else NULL_BASE)
        if session is None:
            return await self._vm.ask(code, data)
        if session.used:
            raise BadRequest("a process was started with this token already")
        await self._within(session.claimed, "no shim has connected with the token")
        session.used = True
        session.container = container
        session.is_first = wanted.hyper_name == "newcontainer"
        answer = await self._vm.ask(code, data)
        session.started.set()
        return answer

    def _session_of(self, vm: Vm, token: str) -> Session:
        session = vm.sessions.get(token)
        if session is None:
            raise BadRequest(f"there is no token {token!r}")
        return session

    async def _within(self, event: asyncio.Event, otherwise: str) -> None:
        try:
            async with asyncio.timeout(self._server.patience):
                await event.wait()
        except TimeoutError:
            raise BadRequest(f"{otherwise} within {self._server.patience:g} s") from None

    # of a shim

    def _connect_shim(self, token: str) -> None:
        vm = self._server.with_token(token)
        if vm is None or self._session is not None:
            raise BadRequest(f"there is no token {token!r} for this connection")
        session = vm.sessions[token]
        if not session.claim(self):
            raise BadRequest(f"another shim has the token {token!r}")
        self._vm, self._session = vm, session

    async def _signal(self, wanted: messages.Signal) -> bytes:
        session, vm = self._session, self._vm
        if session is None or vm is None:
            raise BadRequest("only a shim that is connected sends signals")
        number = wanted.signal_number
        if number not in _SIGNALS:
            raise BadRequest(f"{number} is no signal")
        if number == _WINCH:
            if wanted.rows <= 0 or wanted.columns <= 0:
                raise BadRequest("a window has rows and columns")
            size = {"seq": session.base, "row": wanted.rows, "column": wanted.columns}
            await vm.ask(hyperstart.WINDOW_SIZE, msgspec.json.encode(size))
            return b""
        if wanted.rows or wanted.columns:
            raise BadRequest(f"signal {number} has no size")
        if not session.started.is_set():
            if number in {_KILL, _TERM}:
                session.exited(b"\0")
                return b""
            await self._within(session.started, "the process has not started")
        if not session.is_first:
            raise BadRequest("only a container's first process can be signalled")
        kill = {"container": session.container, "signal": number, "allProcesses": False}
        await vm.ask(hyperstart.KILL_CONTAINER, msgspec.json.encode(kill))
        return b""

    async def _stream(self, stream: Stream, payload: bytes) -> None:
        if stream is Stream.LOG:
            try:
                entry = messages.decode(payload, messages.Log)
            except BadRequest as error:
                raise BrokenClient from error
            if not entry.is_valid:
                raise BrokenClient
            sys.stderr.write(f"{entry.level} {entry.source} {entry.container_id} {entry.msg!r}\n")
            return
        session, vm = self._session, self._vm
        if stream is not Stream.STDIN or session is None or vm is None:
            raise BrokenClient
        if len(payload) > _MAX_INPUT:
            raise BrokenClient
        try:
            await self._within(session.started, "the process has not started")
        except BadRequest as error:
            raise BrokenClient from error
        await vm.send(session.base, payload)
