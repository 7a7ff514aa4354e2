"""Guest: a kernel and a root image of the operator's own, by a name that pods may give."""

from __future__ import annotations

import msgspec

from vctui.errors import InvalidConfig
from vctui.model.agent import AgentConfig
from vctui.model.hypervisor import Param
from vctui.model.kinds import AgentProtocol, AgentType, SharedFs
from vctui.model.pod import PodConfig

_PATHS = ("kernel_path", "initrd_path", "image_path")


class Guest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands behind `guest = "NAME"` in a pod file. Its files stay where they are."""

    name: str
    """Unique on the host; a legal id."""
    kernel_path: str = ""
    """Kernel to boot; empty: the built one."""
    initrd_path: str = ""
    """Initial RAM disk that the agent is in."""
    image_path: str = ""
    """Disk image that the agent is in, instead of an initrd. With neither: the built guest."""
    kernel_params: tuple[Param, ...] = ()
    """Appended to the kernel's command line, before those of the pod."""
    memory: int = 0
    """MiB for a pod that says nothing of its size; 0: as other pods."""
    shared_fs: SharedFs | None = None
    """How it is shown folders of the host; None: as other pods'."""
    agent_type: AgentType = AgentType.KATA
    """Who answers in it."""
    agent_config: AgentConfig = AgentConfig()
    """How it is talked to."""


class GuestReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest said when it was booted to be checked."""

    name: str
    """Of the guest."""
    agent: str
    """Version of the agent, in its own words."""
    protocol: str
    """What it speaks."""
    seconds: float
    """From the machine's start to the agent's readiness for containers."""
    storage_handlers: tuple[str, ...]
    """Kinds of storage that it mounts; empty where it does not say."""
    device_handlers: tuple[str, ...]
    """Kinds of devices that it finds; empty where it does not say."""
    supports_seccomp: bool
    """Whether it says that it filters system calls."""
    features: tuple[str, ...]
    """What else it says of itself."""


def applied(config: PodConfig, guest: Guest) -> PodConfig:
    """The pod with what `guest` says, as if it stood in the pod's own configuration.

    Raises:
        InvalidConfig: the pod names a kernel or an image of its own as well.
    """
    own = config.hypervisor_config
    for key in _PATHS:
        if getattr(own, key):
            raise InvalidConfig(
                f"hypervisor_config.{key} and guest {guest.name!r} both say what to boot; "
                "leave one of them out"
            )
    machine = msgspec.structs.replace(
        own,
        **{key: getattr(guest, key) for key in _PATHS},
        kernel_params=(*guest.kernel_params, *own.kernel_params),
        shared_fs=guest.shared_fs or own.shared_fs,
    )
    size, agent = config.vm_config, config.agent_config
    if not (size.memory or own.default_mem_sz):
        size = msgspec.structs.replace(size, memory=guest.memory)
    return msgspec.structs.replace(
        config,
        hypervisor_config=machine,
        vm_config=size,
        agent_type=guest.agent_type,
        agent_config=_agent_config(agent, guest.agent_config),
    )


def _agent_config(pod: AgentConfig, guest: AgentConfig) -> AgentConfig:
    asked = pod.protocol
    unsaid = pod.socket_type is AgentConfig().socket_type
    return msgspec.structs.replace(
        guest,
        socket_type=guest.socket_type if unsaid else pod.socket_type,
        protocol=guest.protocol if asked is AgentProtocol.AUTO else asked,
        debug=pod.debug or guest.debug,
    )
