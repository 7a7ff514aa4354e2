"""PodConfig, Resources, PodStatus (virtcontainers 1.0 API document)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from vctui.model.agent import AgentConfig
from vctui.model.container import ContainerConfig, ContainerRecord, ContainerStatus
from vctui.model.hook import Hooks
from vctui.model.hypervisor import HypervisorConfig, Machine
from vctui.model.kinds import AgentType, HypervisorType, NetworkModel, ProxyType, ShimType
from vctui.model.network import NetworkConfig, PodNetwork
from vctui.model.proxy import ProxyConfig
from vctui.model.shim import ShimConfig
from vctui.model.state import State
from vctui.model.volume import Volume


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: Resources. 0 means: the hypervisor's default."""

    vcpus: int = 0
    """Virtual CPUs."""
    memory: int = 0
    """MiB."""


class PodConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: PodConfig. What is left out comes from config.toml."""

    id: str
    """Unique on the host; 2 to 63 letters, digits, `.`, `_` or `-`."""
    hostname: str = ""
    """Of the guest and its containers; empty means the id."""
    vm_config: Resources = Resources()
    """The size of the virtual machine."""
    guest: str = ""
    """A guest that was added to this host; empty: what `hypervisor_config` names, else the built
    one."""
    hypervisor_type: HypervisorType = HypervisorType.QEMU
    """`mock` boots nothing."""
    hypervisor_config: HypervisorConfig = HypervisorConfig()
    """How the virtual machine is made."""
    agent_type: AgentType = AgentType.KATA
    """Who is talked to in the guest; `noop`: nobody."""
    agent_config: AgentConfig = AgentConfig()
    """How it is talked to."""
    proxy_type: ProxyType | None = None
    """What shares the agent's channel; None: the one that fits the agent."""
    proxy_config: ProxyConfig = ProxyConfig()
    """Of a proxy that is a program of its own."""
    shim_type: ShimType | None = None
    """What stands for processes on the host; None: the one that fits the proxy."""
    shim_config: ShimConfig = ShimConfig()
    """Of a shim that is a program of its own."""
    network_model: NetworkModel = NetworkModel.NOOP
    """`noop`: the guest has its loopback device only; `CNM`: a network namespace that somebody else
    fills, before the pod starts or in its pre-start hooks."""
    network_config: NetworkConfig = NetworkConfig()
    """How the network is made; without meaning where `network_model` is `noop`."""
    volumes: tuple[Volume, ...] = ()
    """Folders of the host that containers can mount by tag."""
    containers: tuple[ContainerConfig, ...] = ()
    """Those of its start; more can be added later."""
    hooks: Hooks = Hooks()
    """Programs of the host that run as the pod starts and stops."""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    """Kept and shown; some name assets."""


class PodStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """API: PodStatus, and what an operator asks next."""

    id: str
    """Unique on the host."""
    state: State
    """What can be done with it now."""
    hypervisor: HypervisorType
    """What runs its machine."""
    hypervisor_config: HypervisorConfig
    """As it was configured."""
    agent: AgentType
    """Who is talked to in the guest."""
    agent_config: AgentConfig
    """How it is talked to."""
    proxy: ProxyType
    """What shares the agent's channel."""
    proxy_config: ProxyConfig
    """As it was configured."""
    shim: ShimType
    """What stands for processes on the host."""
    shim_config: ShimConfig
    """As it was configured."""
    containers_status: tuple[ContainerStatus, ...]
    """In the order of their creation."""
    annotations: dict[str, str]
    """As they are now."""
    hostname: str
    """Of the guest and its containers."""
    vm_config: Resources
    """As it was configured."""
    reason: str
    """Why the pod is in this state, where that is not plain; "" otherwise."""
    operation: str
    """What is being done to it at the moment ("start", "stop", …); "" when nothing."""
    created_time: datetime
    """When it was created."""
    start_time: datetime | None
    """Of its last start; None before the first."""
    machine: Machine | None
    """Its virtual machine; None where none runs."""
    guest: str = ""
    """The added guest that it was made with."""
    monitor_pid: int
    """Host process that watches the machine; 0 where none does."""
    network: PodNetwork | None = None
    """While the pod runs, where it has one."""


class PodRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the store keeps of a pod. `containers` stand in the order of their creation."""

    config: PodConfig
    created: datetime
    state: State = State.READY
    reason: str = ""
    operation: str = ""
    """Set while an engine changes the pod; one that is left over tells recovery to clean up."""
    started: datetime | None = None
    machine: Machine | None = None
    network: PodNetwork | None = None
    """What was made of it or may have been made."""
    monitor_pid: int = 0
    monitor_started: float = 0.0
    containers: tuple[ContainerRecord, ...] = ()

    @property
    def id(self) -> str:
        return self.config.id
