"""Stands on the host for one process behind a cc-proxy, as a cc-shim does (sheet §3.4, §5)."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

import msgspec

from vctui.companions.monitor.cc_connection import Connection
from vctui.companions.monitor.standin import OnEnd, StandIn
from vctui.drivers.ttrpc_client import CallFailed
from vctui.wire import ccproxy, hyperstart, monitor
from vctui.wire.ccproxy import Command, Frame, Notification, Stream, Type

if TYPE_CHECKING:
    from vctui.companions.monitor.cc_link import CcLink
    from vctui.companions.monitor.logfile import LogFile

_OUTPUTS: Final = {Stream.STDOUT: monitor.STDOUT, Stream.STDERR: monitor.STDERR}
_LOST: Final = (
    "cc-proxy gives the streams of a process to one shim only, which ended with the pod's monitor"
)


class CcStandIn(StandIn):
    """
    Args:
        former: the token of a process that runs already, of which the proxy gives the streams to
            another shim; "" for one that is to be started.
        is_lost: the process runs already, and the proxy gives its streams to nobody any more.
    """

    def __init__(
        self,
        start: monitor.StartShim,
        *,
        link: CcLink,
        former: str,
        is_lost: bool,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> None:
        super().__init__(start, log=log, replay_bytes=replay_bytes, on_end=on_end)
        self._link = link
        self._former = former
        self._is_lost = is_lost
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._abandoned = False

    @property
    def pid(self) -> int:
        return os.getpid()

    def abandon(self) -> None:
        self._abandoned = True
        if self._connection is not None:
            self._connection.abort()

    async def write(self, data: bytes) -> None:
        await self._connected.wait()
        for piece in hyperstart.input_pieces(data):
            await self._send(Frame(Type.STREAM, Stream.STDIN, piece))

    async def resize(self, size: monitor.Size) -> None:
        if self.start.terminal:
            await self._connected.wait()
            wanted = {
                "signalNumber": int(signal.SIGWINCH),
                "rows": size.rows,
                "columns": size.columns,
            }
            await self._send(Frame(Type.COMMAND, Command.SIGNAL, msgspec.json.encode(wanted)))

    async def close_stdin(self) -> None:
        if not self.start.terminal:  # a terminal has no end
            await self._connected.wait()
            await self._send(Frame(Type.STREAM, Stream.STDIN))

    async def _send(self, frame: Frame) -> None:
        if self._connection is not None:
            self._connection.send(frame)
            await self._connection.drain()

    async def _stand(self) -> monitor.Exit:
        if self._is_lost:
            await self._link.kill(self.start)
            return monitor.Exit(None, _LOST)
        try:
            token = self._former or await self._link.token(self.start.token)
            connection = self._connection = await Connection.open(self._link.serve_at)
        except (CallFailed, OSError) as error:
            self._connected.set()
            return monitor.Exit(None, f"cc-proxy takes no shim for it: {error}")
        try:
            await connection.ask(Command.CONNECT_SHIM, {"token": token})
            self._link.remember(self.start.token, token)
            self._connected.set()
            status = await self._carry(connection)
        except CallFailed as error:
            return monitor.Exit(None, f"cc-proxy takes no shim for it: {error}")
        finally:
            self._connected.set()
            self._connection = None
            await connection.close()
        self._link.forget(self.start.token)
        if self._abandoned:
            return monitor.Exit(None, "it was not started")
        if status is None:
            return monitor.Exit(None, "cc-proxy went away, and does not say how it ended")
        return monitor.Exit(status)

    async def _carry(self, connection: Connection) -> int | None:
        """Output until the end; the status that the proxy tells, if it does."""
        while not self._abandoned and (frame := await connection.frame()) is not None:
            if frame.type is Type.STREAM and (output := _OUTPUTS.get(Stream(frame.opcode))):
                await self._publish(output, frame.payload)
            elif (frame.type, frame.opcode) == (Type.NOTIFICATION, Notification.PROCESS_EXITED):
                connection.send(Frame(Type.COMMAND, ccproxy.Command.DISCONNECT_SHIM))
                return frame.payload[0] if frame.payload else None
        return None
