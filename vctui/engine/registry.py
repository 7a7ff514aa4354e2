"""Kind → driver. The only module that names every driver; each is imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vctui.model import pairing
from vctui.model.kinds import (
    AgentType,
    EndpointType,
    HypervisorType,
    NetInterworkingModel,
    NetworkModel,
    ProxyType,
    ShimType,
)

if TYPE_CHECKING:
    from vctui.drivers.agents.base import Agent, Needs
    from vctui.drivers.endpoints.base import Wiring
    from vctui.drivers.hypervisors.base import Hypervisor
    from vctui.drivers.networks.base import Network
    from vctui.drivers.proxies.base import Proxy
    from vctui.drivers.shims.base import Shim
    from vctui.model.network import Endpoint
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
        case AgentType.HYPERSTART:
            from vctui.drivers.agents.hyperstart.agent import HyperstartAgent

            return HyperstartAgent(timeout=settings.timeouts.agent)


def guest_needs(kind: AgentType) -> Needs:
    """What a machine must have for the agent. Importing what speaks to it can wait until that
    machine starts."""
    match kind:
        case AgentType.KATA:
            from vctui.drivers.agents.kata.needs import needs

            return needs
        case AgentType.NOOP:
            from vctui.drivers.agents.noop import NoopAgent

            return NoopAgent.needs
        case AgentType.HYPERSTART:
            from vctui.drivers.agents.hyperstart.agent import HyperstartAgent

            return HyperstartAgent.needs


def proxy(config: PodConfig, settings: Settings) -> Proxy:
    match pairing.proxy_type(config):
        case ProxyType.BUILTIN | ProxyType.KATA | ProxyType.CC:  # programs are the monitor's
            from vctui.drivers.proxies.builtin import BuiltinProxy

            return BuiltinProxy(
                settings,
                pairing.agent_protocol(config),
                config.proxy_config,
                config.agent_config.socket_type,
            )
        case ProxyType.NOOP:
            from vctui.drivers.proxies.noop import NoopProxy

            return NoopProxy()
        case ProxyType.NO:
            from vctui.drivers.proxies.no import NoProxy

            return NoProxy(
                settings,
                pairing.agent_protocol(config),
                socket_type=config.agent_config.socket_type,
            )


def shim(config: PodConfig) -> Shim:
    match pairing.shim_type(config):
        case ShimType.BUILTIN | ShimType.KATA | ShimType.CC:  # programs are the monitor's
            from vctui.drivers.shims.builtin import BuiltinShim

            return BuiltinShim()
        case ShimType.NOOP:
            from vctui.drivers.shims.noop import NoopShim

            return NoopShim()


def network(kind: NetworkModel, settings: Settings) -> Network:
    match kind:
        case NetworkModel.NOOP:
            from vctui.drivers.networks.noop import NoopNetwork

            return NoopNetwork()
        case NetworkModel.CNI:
            from vctui.drivers.networks.cni import CniNetwork

            return CniNetwork(settings.network)
        case NetworkModel.CNM:
            from vctui.drivers.networks.cnm import CnmNetwork

            return CnmNetwork()


def wiring(endpoint: Endpoint) -> Wiring:
    match endpoint.type:
        case EndpointType.PHYSICAL:
            from vctui.drivers.endpoints.physical import Physical

            return Physical()
        case EndpointType.VHOST_USER:
            from vctui.drivers.endpoints.vhost_user import VhostUser

            return VhostUser()
        case _:
            return _model(endpoint.model)


def _model(model: NetInterworkingModel) -> Wiring:
    match model:
        case NetInterworkingModel.BRIDGED:
            from vctui.drivers.endpoints.bridged import Bridged

            return Bridged()
        case NetInterworkingModel.MACVTAP:
            from vctui.drivers.endpoints.macvtap import Macvtap

            return Macvtap()
        case NetInterworkingModel.ENLIGHTENED:
            from vctui.drivers.endpoints.direct import Direct

            return Direct()
        case _:
            from vctui.drivers.endpoints.tc_filter import TcFilter

            return TcFilter()
