"""Which link a pod has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from vctui.companions.monitor.link import Link
from vctui.model.kinds import AgentProtocol, SocketType
from vctui.model.proxy import ProxyConfig
from vctui.wire import monitor

PROXY_LOG: Final = "proxy.log"


def make(
    pod_id: str,
    protocol: AgentProtocol,
    program: ProxyConfig,
    run_dir: Path,
    warn: Callable[[str], None],
    *,
    socket_type: SocketType = SocketType.UNIX,
) -> Link:
    """The link of a pod whose agent speaks `protocol`, and whose proxy is `program`, if any."""
    channel, streams = run_dir / "agent.sock", run_dir / "tty.sock"
    proxy, log = run_dir / monitor.PROXY, run_dir / PROXY_LOG
    if socket_type.is_vsock:
        from vctui.companions.monitor import vsock_link

        return vsock_link.make(protocol, proxy, warn)
    match protocol:
        case AgentProtocol.CC_AGENT:
            from vctui.companions.monitor.cc_link import CcLink

            return CcLink(pod_id, program, channel, streams, proxy, log, warn)
        case AgentProtocol.GRPC if program.path:
            from vctui.companions.monitor.kata_proxy import KataProxyLink

            return KataProxyLink(program, channel, proxy, log, warn)
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

            return HyperLink(channel, streams, warn)
