"""What a machine must have for a Kata agent. Apart from what speaks to the agent: that takes long
to import, and a machine can start meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vctui.drivers.agents.base import GuestNeeds
from vctui.drivers.agents.kata import ports
from vctui.drivers.hypervisors.base import Port, Share
from vctui.model.agent import AgentConfig
from vctui.model.kinds import AgentProtocol

_FIRST_GENERATION: Final = ("vctui.protocol=grpc", "agent.hotplug_timeout=30s")
"""Our own agent's face, and what agents since 1.10 wait for a device: 3 s else, which is little
for an emulated machine (kata-agent gRPC sheet, §9.1). Later ones read a number there."""


def needs(run_dir: Path, share_dir: Path, config: AgentConfig, *, debug: bool) -> GuestNeeds:
    """See `drivers.agents.base.Needs`."""
    log = ("agent.log=debug",) if debug or config.debug else ()
    face = _FIRST_GENERATION if config.protocol is AgentProtocol.GRPC else ()
    channel = Port(name=ports.CHANNEL, socket=run_dir / "agent.sock")
    words = Port(name=ports.LOG, socket=run_dir / "agentlog.sock")
    on_vsock = config.socket_type.is_vsock
    if on_vsock:
        face = (*face, *_on_vsock(config.protocol))
    return GuestNeeds(
        ports=(words,) if on_vsock else (channel, words),
        shares=(Share(tag=ports.SHARE_TAG, path=share_dir),),
        kernel_params=(*face, *log, *(("agent.debug_console",) if debug else ())),
    )


def _on_vsock(protocol: AgentProtocol) -> tuple[str, ...]:
    """Kernel parameters for an agent on vsock: for our own, and for Kata 1.x, which would prefer a
    serial port. Its successors know no other way, and pass over what they do not know; they wait
    3 s for a device unless they are told a number (ttrpc sheet, §8), which 1.x passes over."""
    first_generation = () if protocol is AgentProtocol.TTRPC else ("agent.use_vsock=true",)
    later = () if protocol is AgentProtocol.GRPC else ("agent.hotplug_timeout=30",)
    return ("vctui.socket=vsock", *first_generation, *later)
