"""AgentConfig: what the virtcontainers 1.0 API leaves to each agent to define."""

from __future__ import annotations

import msgspec

from vctui.model.kinds import AgentProtocol, SocketType


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: AgentConfig. Which of the fields count depends on the agent; others are refused."""

    socket_type: SocketType = SocketType.UNIX
    """How the host reaches the agent: `unix`, a serial port of the machine behind a unix socket;
    `vsock`, by the host's kernel, or by vctui where that has no vhost-vsock; `hybrid-vsock`, by
    vctui."""
    protocol: AgentProtocol = AgentProtocol.AUTO
    """For the agent `kata`: the generation of its protocol. Our own guest speaks either, and
    `ttrpc` where nothing is said."""
    debug: bool = False
    """The agent's log says everything."""
