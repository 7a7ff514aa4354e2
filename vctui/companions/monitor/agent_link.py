"""The one channel to the guest's agent: when it is open, who answers, what is garbage."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vctui.companions.monitor.link import Link
from vctui.companions.monitor.resync import Resync
from vctui.companions.monitor.shim import AGENT
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Receive, Session, request
from vctui.linux import sockets
from vctui.wire import monitor, ttrpc
from vctui.wire.proto import message

_PROBE_AGAIN, _PROBE_EVERY = 0.2, 3.0
"""Seconds after which an unanswered health check is repeated, at first and in the end: a guest that
has not seen yet that another client is gone takes the first for what that one has left."""
_STRAY_LIMIT: Final = 64
"""Frames that answer nothing, from one connection, before it is taken for garbage."""
_FEATURES: Final = 64
"""That an agent may name; more are not looked at."""
_OURS: Final = "vctui.Guest."


class AgentLink(Link):
    """Speaks ttrpc; the agent counts as there when it has answered a health check."""

    protocol = monitor.TTRPC
    _has_leftovers = True
    """What one client has left unread or half sent, the next one finds."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self._path = path
        self._adopting = False
        self._session: Session | None = None
        self._broken = asyncio.Event()
        self._strays = 0
        self._features: frozenset[str] | None = None

    def _hang_up(self) -> None:
        if self._session is not None:
            self._session.abort("the agent has closed its channel")

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""
        return await self._current().call(service, method, payload)

    async def remembers_ended(self) -> bool:
        """Ask once whether the agent is our own: only that keeps what ended (guest/service.py)."""
        if self._features is None:
            try:
                answer = await self.call(AGENT, "GetGuestDetails", b"")
                details = message("GuestDetailsResponse").decode(answer).agent_details
                self._features = frozenset(details.extra_features[:_FEATURES])
            except (CallFailed, ValueError):
                return False
        return any(each.startswith(_OURS) for each in self._features)

    def begin(self, body: bytes, flags: int, receive: Receive) -> int:
        """Pass a request on. Raises CallFailed, ConnectionLost."""
        return self._current().begin(body, receive, flags=flags)

    def send(self, stream_id: int, body: bytes, flags: int) -> None:
        if self._session is not None:
            self._session.send(stream_id, body, flags=flags)

    @property
    def is_writable(self) -> bool:
        return self._session is None or self._session.is_writable

    async def drain(self) -> None:
        if self._session is not None:
            await self._session.drain()

    async def run(self, *, adopting: bool) -> None:
        """Connect, and connect again, until cancelled or the guest has sent too much garbage.

        With `adopting`, somebody has talked to the agent before us.
        """
        self._adopting = adopting and self._has_leftovers
        while True:
            await self._port.wait()
            self._broken.clear()
            try:
                await self._converse()
            except OSError:
                if self._why:
                    return
                await asyncio.sleep(0.05)  # QEMU serves the next client when it saw the last leave
            finally:
                self._ready.clear()
            if self._strays > _STRAY_LIMIT:
                if not self._opens_anew("the guest sent garbage on the agent's channel"):
                    return
                self._adopting = self._has_leftovers

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _dial(self) -> socket.socket:
        """Raises OSError."""
        return await sockets.connect(self._path)

    async def _converse(self) -> None:
        """One connection, from its first health check to its end. Raises OSError."""
        sock = await self._dial()
        resync = Resync() if self._adopting else None
        self._strays = 0

        def make() -> Session:
            return Session(
                first_id=_first_id() if self._adopting else 1,
                framer=resync,
                on_lost=self._lost,
                on_stray=self._stray,
            )

        loop = asyncio.get_running_loop()
        _, self._session = await loop.create_connection(make, sock=sock)
        self._adopting = self._has_leftovers  # whoever comes next must expect them
        try:
            lost = asyncio.create_task(self._broken.wait())
            greeting = asyncio.create_task(self._greet(self._session, resync))
            try:
                await asyncio.wait({lost, greeting}, return_when=asyncio.FIRST_COMPLETED)
                if greeting.done() and not self._broken.is_set():
                    self._ready.set()
                    await lost
            finally:
                for task in (lost, greeting):
                    task.cancel()
                await asyncio.gather(lost, greeting, return_exceptions=True)
        finally:
            self._session.abort("the agent's channel was closed")

    async def _greet(self, session: Session, resync: Resync | None) -> None:
        """Ask for the agent's health until it answers anything at all."""
        answered = asyncio.Event()

        def receive(_frame: ttrpc.Frame | ConnectionLost) -> None:
            answered.set()

        body = request("grpc.Health", "Check")
        patience = _PROBE_AGAIN
        while not answered.is_set():
            stream_id = session.begin(body, receive)
            if resync is not None:
                resync.expect(stream_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await answered.wait()
            patience = min(2 * patience, _PROBE_EVERY)

    def _lost(self, _why: str) -> None:
        self._ready.clear()  # at once: whoever asks again must wait
        self._broken.set()

    def _stray(self, _frame: ttrpc.Frame) -> None:
        self._strays += 1
        if self._strays > _STRAY_LIMIT and self._session is not None:
            self._session.abort("the guest sent garbage")

    def _current(self) -> Session:
        if self._session is None or not self._ready.is_set():
            raise self._out_of_reach()
        return self._session


def _first_id() -> int:
    """Over every id that an earlier monitor of this machine is likely to have used, and odd."""
    return (int(time.clock_gettime(time.CLOCK_BOOTTIME)) << 2 & 0x3FFFFFFF) | 1
