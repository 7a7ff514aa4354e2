"""Link: the way to the guest's agent, whatever it speaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from vctui.companions.monitor.shim import Agent, Shim
from vctui.companions.monitor.standin import OnEnd, StandIn
from vctui.drivers.ttrpc_client import Receive
from vctui.model.kinds import AgentProtocol
from vctui.model.proxy import ProxyConfig
from vctui.wire import monitor

if TYPE_CHECKING:
    from vctui.companions.monitor.hyper_link import HyperLink
    from vctui.companions.monitor.logfile import LogFile


class Link(Protocol):
    """Keeps the one connection to an agent for as long as the machine lives."""

    given_up: str
    """Why the agent will not be talked to any more; "" while it may."""

    @property
    def protocol(self) -> str:
        """`wire.monitor.TTRPC` or `GRPC`, as far as it is known."""

    @property
    def is_ready(self) -> bool: ...

    def port_opened(self) -> None: ...

    def port_closed(self) -> None:
        """The agent has closed its end: whatever it was asked will not be answered."""

    async def ready(self) -> None:
        """Return when the agent answers (again)."""

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""

    async def remembers_ended(self) -> bool:
        """Whether a process that was waited for can still be read from."""

    @property
    def is_writable(self) -> bool: ...

    async def drain(self) -> None: ...

    def begin(self, body: bytes, flags: int, receive: Receive) -> int:
        """Pass a ttrpc request on. Raises CallFailed, ConnectionLost."""

    def send(self, stream_id: int, body: bytes, flags: int) -> None: ...

    async def run(self, *, adopting: bool) -> None:
        """Connect, and connect again, until cancelled or the guest has sent too much garbage.

        With `adopting`, somebody has talked to the agent before us.
        """

    async def close(self) -> None: ...


def make(
    protocol: AgentProtocol, program: ProxyConfig, run_dir: Path, warn: Callable[[str], None]
) -> Link:
    """The link of a pod whose agent speaks `protocol`, and whose proxy is `program`, if any."""
    channel, proxy = run_dir / "agent.sock", run_dir / monitor.PROXY
    if program.path:
        from vctui.companions.monitor import kata_proxy

        return kata_proxy.KataProxyLink(program, channel, proxy, run_dir / kata_proxy.LOG, warn)
    match protocol:
        case AgentProtocol.TTRPC:
            from vctui.companions.monitor.agent_link import AgentLink

            return AgentLink(channel, warn)
        case AgentProtocol.GRPC:
            from vctui.companions.monitor.grpc_link import GrpcLink

            return GrpcLink(channel, proxy, warn)
        case AgentProtocol.AUTO:
            from vctui.companions.monitor.auto_link import AutoLink

            return AutoLink(channel, proxy, warn)
        case AgentProtocol.HYPERSTART:
            from vctui.companions.monitor.hyper_link import HyperLink

            return HyperLink(channel, run_dir / "tty.sock", warn)


def stand_in(
    agent: Agent,
    start: monitor.StartShim,
    *,
    log: LogFile | None,
    replay_bytes: int,
    on_end: OnEnd,
) -> StandIn:
    """The built-in shim for a process behind this link."""
    if getattr(agent, "protocol", "") == monitor.HYPERSTART:
        from vctui.companions.monitor.hyper_shim import HyperShim

        return HyperShim(
            start,
            link=cast("HyperLink", agent),
            log=log,
            replay_bytes=replay_bytes,
            on_end=on_end,
        )
    return Shim(start, agent=agent, log=log, replay_bytes=replay_bytes, on_end=on_end)
