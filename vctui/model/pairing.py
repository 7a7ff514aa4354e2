"""Which proxy and which shim go with an agent, and what of their configurations counts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from vctui.errors import InvalidConfig
from vctui.model.agent import AgentConfig
from vctui.model.kinds import AgentProtocol, AgentType, ProxyType, SharedFs, ShimType

if TYPE_CHECKING:
    from vctui.model.container import Cmd
    from vctui.model.pod import PodConfig
    from vctui.model.proxy import ProxyConfig
    from vctui.model.shim import ShimConfig

PROXIES: Final[Mapping[AgentType, tuple[ProxyType, ...]]] = {
    AgentType.NOOP: (ProxyType.NOOP,),
    AgentType.KATA: (ProxyType.BUILTIN, ProxyType.KATA, ProxyType.NO),
    AgentType.HYPERSTART: (ProxyType.BUILTIN, ProxyType.CC),
}
"""Those that speak the agent's protocol; the first is the one of a pod that names none."""

SHIMS: Final[Mapping[ProxyType, tuple[ShimType, ...]]] = {
    ProxyType.NOOP: (ShimType.NOOP,),
    ProxyType.BUILTIN: (ShimType.BUILTIN, ShimType.KATA, ShimType.NOOP),
    ProxyType.KATA: (ShimType.BUILTIN, ShimType.KATA, ShimType.NOOP),
    ProxyType.NO: (ShimType.BUILTIN, ShimType.KATA, ShimType.NOOP),
    ProxyType.CC: (ShimType.BUILTIN, ShimType.CC, ShimType.NOOP),
}
"""Those that speak the proxy's protocol; the first is the one of a pod that names none."""

EXTERNAL: Final = frozenset({ProxyType.KATA, ProxyType.CC, ShimType.KATA, ShimType.CC})
"""Programs of their own."""
HAS_STAND_IN: Final = frozenset({ProxyType.CC})
"""Those of them that we have one of our own for, where no path is given."""
_HYPERSTARTS: Final = frozenset({AgentProtocol.HYPERSTART, AgentProtocol.CC_AGENT})


def proxy_type(config: PodConfig) -> ProxyType:
    """The proxy that the pod names, else the one that fits its agent."""
    return config.proxy_type or PROXIES[config.agent_type][0]


def shim_type(config: PodConfig) -> ShimType:
    """The shim that the pod names, else the one that fits its proxy."""
    return config.shim_type or SHIMS[proxy_type(config)][0]


def agent_protocol(config: PodConfig) -> AgentProtocol:
    """What is known of the agent's protocol before anybody has asked it."""
    if config.agent_type is AgentType.HYPERSTART:
        behind = proxy_type(config) is ProxyType.CC
        return AgentProtocol.CC_AGENT if behind else AgentProtocol.HYPERSTART
    asked, guest = config.agent_config.protocol, config.hypervisor_config
    if _speaks_grpc(config):
        return AgentProtocol.GRPC
    ours = not (guest.initrd_path or guest.image_path)
    return AgentProtocol.TTRPC if asked is AgentProtocol.AUTO and ours else asked


def check(config: PodConfig) -> None:
    """Refuse what has no meaning together. Raises InvalidConfig, naming the key."""
    agent, proxy, shim = config.agent_type, proxy_type(config), shim_type(config)
    _fits("proxy_type", proxy, PROXIES[agent], f"the agent {agent}")
    _fits("shim_type", shim, SHIMS[proxy], f"the proxy {proxy}")
    _check_program("proxy", proxy, config.proxy_config)
    _check_program("shim", shim, config.shim_config)
    if agent is AgentType.NOOP and config.agent_config.debug:
        raise InvalidConfig(
            "agent_config.debug has no effect with the agent noop, which is not there; "
            "leave it out, or choose another agent_type"
        )
    if agent is not AgentType.KATA and config.agent_config.protocol is not AgentConfig().protocol:
        raise InvalidConfig(
            f"agent_config.protocol has no effect with the agent {agent}, which has one only; "
            "leave it out, or choose another agent_type"
        )
    if agent is AgentType.KATA and config.agent_config.protocol in _HYPERSTARTS:
        raise InvalidConfig(
            f"agent_config.protocol {config.agent_config.protocol} is not one of the agent kata; "
            "choose agent_type hyperstart, or another protocol"
        )
    speaker = _speaks_grpc(config)
    if speaker and config.agent_config.protocol is AgentProtocol.TTRPC:
        raise InvalidConfig(
            f"agent_config.protocol ttrpc is not spoken by {speaker}, which is of Kata 1.x; "
            "use grpc, or leave it out"
        )
    virtio_fs = config.hypervisor_config.shared_fs is SharedFs.VIRTIO_FS
    if agent is AgentType.HYPERSTART and virtio_fs:
        raise InvalidConfig(
            "hypervisor_config.shared_fs virtio-fs is unknown to the agent hyperstart, which "
            "mounts 9p only; use 9p, or another agent_type"
        )
    socket_type = config.agent_config.socket_type
    if proxy is ProxyType.NO and not socket_type.is_vsock:
        raise InvalidConfig(
            "proxy_type noProxy needs agent_config.socket_type vsock, as a serial port serves one "
            "client only; set it, or choose another proxy_type"
        )
    if agent is not AgentType.KATA and socket_type.is_vsock:
        raise InvalidConfig(
            f"agent_config.socket_type {socket_type} has no effect with the agent {agent}, which "
            "is not talked to that way; leave it out, or choose another agent_type"
        )
    if proxy is ProxyType.KATA and socket_type.is_vsock:
        raise InvalidConfig(
            f"proxy_type kataProxy does not go with agent_config.socket_type {socket_type}, as it "
            "shares a serial port; use noProxy or kataBuiltInProxy, or leave socket_type out"
        )


def check_console(config: PodConfig, cmd: Cmd, *, where: str = "") -> None:
    """Refuse a terminal that no shim would connect the command to. Raises InvalidConfig."""
    if cmd.console and shim_type(config) is ShimType.NOOP:
        raise InvalidConfig(
            f"{where}console has no effect with shim_type noopShim, under which nothing stands for "
            "a process; leave it out, or choose another shim_type"
        )


def _speaks_grpc(config: PodConfig) -> str:
    """The program of Kata 1.x that the pod has, which speaks gRPC only; "" for none."""
    kinds = (proxy_type(config), shim_type(config))
    return next((one for one in kinds if one in {ProxyType.KATA, ShimType.KATA}), "")


def _fits(
    key: str,
    chosen: ProxyType | ShimType,
    fitting: tuple[ProxyType, ...] | tuple[ShimType, ...],
    beside: str,
) -> None:
    if chosen not in fitting:
        raise InvalidConfig(
            f"{key} {chosen} does not go with {beside}; use {' or '.join(fitting)}, or leave it out"
        )


def _check_program(
    what: str, chosen: ProxyType | ShimType, config: ProxyConfig | ShimConfig
) -> None:
    if chosen in EXTERNAL:
        if chosen in HAS_STAND_IN and not config.path:
            return
        if not config.path.startswith("/"):
            raise InvalidConfig(
                f"{what}_config.path {config.path!r} is not the absolute path of a program; "
                f"name the {what} that {what}_type {chosen} is to run"
            )
        return
    for key in config.__struct_fields__:
        if getattr(config, key):
            raise InvalidConfig(
                f"{what}_config.{key} has no effect with {what}_type {chosen}, which is no program "
                f"of its own; leave it out, or choose another {what}_type"
            )
