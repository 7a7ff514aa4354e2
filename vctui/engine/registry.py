"""Kind → driver. The only module that names every driver; each is imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vctui.model.kinds import AgentType, HypervisorType, ProxyType, ShimType

if TYPE_CHECKING:
    from vctui.drivers.agents.base import Agent
    from vctui.drivers.hypervisors.base import Hypervisor
    from vctui.drivers.proxies.base import Proxy
    from vctui.drivers.shims.base import Shim
    from vctui.model.pod import PodConfig
    from vctui.settings import Settings


def hypervisor(kind: HypervisorType, settings: Settings) -> Hypervisor:
    match kind:
        case HypervisorType.QEMU:
            from vctui.drivers.hypervisors.qemu.machine import Qemu

            return Qemu(settings.cache_dir)
        case HypervisorType.MOCK:
            from vctui.drivers.hypervisors.mock import MockHypervisor

            return MockHypervisor()


def agent(kind: AgentType, settings: Settings) -> Agent:
    match kind:
        case AgentType.KATA:
            from vctui.drivers.agents.kata.agent import KataAgent

            return KataAgent(timeout=settings.timeouts.agent)
        case AgentType.NOOP:
            from vctui.drivers.agents.noop import NoopAgent

            return NoopAgent()


def proxy(config: PodConfig, settings: Settings) -> Proxy:
    match proxy_type(config):
        case ProxyType.BUILTIN:
            from vctui.drivers.proxies.builtin import BuiltinProxy

            return BuiltinProxy(settings)
        case ProxyType.NOOP:
            from vctui.drivers.proxies.noop import NoopProxy

            return NoopProxy()


def shim(config: PodConfig) -> Shim:
    match shim_type(config):
        case ShimType.BUILTIN:
            from vctui.drivers.shims.builtin import BuiltinShim

            return BuiltinShim()
        case ShimType.NOOP:
            from vctui.drivers.shims.noop import NoopShim

            return NoopShim()


def proxy_type(config: PodConfig) -> ProxyType:
    """The proxy that the pod asks for, else the one that fits its agent."""
    if config.proxy_type is not None:
        return config.proxy_type
    return ProxyType.NOOP if config.agent_type is AgentType.NOOP else ProxyType.BUILTIN


def shim_type(config: PodConfig) -> ShimType:
    if config.shim_type is not None:
        return config.shim_type
    return ShimType.NOOP if config.agent_type is AgentType.NOOP else ShimType.BUILTIN
