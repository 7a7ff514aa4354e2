"""Link: the way to the guest's agent, whatever it speaks."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from vctui.companions.monitor.port import Port
from vctui.companions.monitor.shim import Shim
from vctui.companions.monitor.standin import OnEnd, StandIn
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Receive
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile


_RESETS: Final = 3
"""Times that a garbled channel is opened again."""


class Attendants(Protocol):
    """Who stands for the processes, as a link tells them what becomes of these."""

    def not_started(self, token: str) -> None:
        """The agent has refused to start the process."""

    async def close_input(self, token: str) -> None:
        """Nobody will type at the process, which runs now."""

    def cut_off(self) -> None:
        """Whoever talked to the agent is cut off from it."""


class Link(ABC):
    """Keeps the one connection to an agent for as long as the machine lives.

    Bytes that are sent before the guest has opened its port are lost, so a link begins when it is
    told of that, and counts as ready when the agent has answered.
    """

    protocol: str = monitor.TTRPC
    """`wire.monitor.TTRPC`, `GRPC` or `HYPERSTART`, as far as it is known."""
    logs_plainly: bool = False
    """The agent is known to write to the console what Kata's mark as theirs: text of any form."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.url = ""
        """Where an agent on the machine's vsock device is reached, as soon as that is known."""
        self._warn = warn
        self._port = Port()
        self._ready = asyncio.Event()
        self._resets = 0
        self._why = ""
        self._hopeless = asyncio.Event()
        self.attendants: Attendants | None = None
        self.machine_is_gone = False
        """Nobody needs the way to the agent any more."""

    @property
    def given_up(self) -> str:
        """Why the agent will not be talked to any more; "" while it may."""
        return self._why

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def ready(self) -> None:
        """Return when the agent answers (again)."""
        await self._ready.wait()

    async def hopeless(self) -> None:
        """Return when the agent was given up."""
        await self._hopeless.wait()

    async def settled(self) -> str:
        """Return when the agent answers (again), "", or why it was given up."""
        either = {asyncio.create_task(self.ready()), asyncio.create_task(self.hopeless())}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()
            await asyncio.gather(*either, return_exceptions=True)
        return self.given_up

    def _cut_off(self) -> None:
        if self.attendants is not None:
            self.attendants.cut_off()

    def _give_up(self, why: str) -> None:
        self._why = why
        self._hopeless.set()

    def _opens_anew(self, wrong: str) -> bool:
        """Whether the channel is, after the guest has sent what is `wrong`; the agent is given up
        where that has happened too often."""
        self._resets += 1
        if self._resets <= _RESETS:
            self._warn(f"{wrong}; it was opened anew")
            return True
        self._warn(f"{wrong}; it stays closed, restart the pod")
        self._give_up("the guest sends garbage on the agent's channel")
        return False

    def port_opened(self) -> None:
        self._port.set()

    def reached_at(self, url: str) -> None:
        """Of an agent on the machine's vsock device: no port tells when it is there."""
        self.url = url
        self.port_opened()

    def port_closed(self) -> None:
        """The agent has closed its end: whatever it was asked will not be answered."""
        was_open = self._port.is_set()
        self._port.clear()
        if was_open:
            self._hang_up()

    @abstractmethod
    def _hang_up(self) -> None:
        """Fail whoever waits for an answer."""

    @abstractmethod
    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""

    async def remembers_ended(self) -> bool:
        """Whether a process that was waited for can still be read from."""
        return False

    @property
    def is_writable(self) -> bool:
        return True

    async def drain(self) -> None:  # noqa: B027 - as send
        """Return when more requests may be passed on."""

    def begin(self, body: bytes, flags: int, receive: Receive) -> int:
        """Pass a ttrpc request on. Raises CallFailed, ConnectionLost."""
        raise CallFailed(ttrpc.UNIMPLEMENTED, f"this pod's agent speaks {self.protocol}")

    def send(self, stream_id: int, body: bytes, flags: int) -> None:  # noqa: B027 - see begin
        """More of a request that was begun."""

    @abstractmethod
    async def run(self, *, adopting: bool) -> None:
        """Connect, and connect again, until cancelled or the guest has sent too much garbage.

        With `adopting`, somebody has talked to the agent before us.
        """

    @abstractmethod
    async def close(self) -> None: ...

    def stand_in(
        self,
        start: monitor.StartShim,
        *,
        adopting: bool,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> StandIn:
        """The built-in shim for a process behind this link; with `adopting`, one that runs."""
        return Shim(start, agent=self, log=log, replay_bytes=replay_bytes, on_end=on_end)

    def _out_of_reach(self) -> ConnectionLost:
        return ConnectionLost(self.given_up or "the agent has not opened its channel yet")
