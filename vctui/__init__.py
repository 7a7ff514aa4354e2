"""Pods in QEMU virtual machines: a lifecycle engine and a console.

The library's names are looked up when they are first used, so that importing the package
costs nothing:

    from vctui import list_pod

    for pod in await list_pod():
        print(pod.id, pod.state)

Who calls more than one opens a Runtime and hands it to each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vctui.engine.api import (
        VCContainer,
        VCPod,
        create_container,
        create_pod,
        delete_container,
        delete_pod,
        enter_container,
        kill_container,
        list_pod,
        pause_pod,
        process_list_container,
        resume_pod,
        run_pod,
        start_container,
        start_pod,
        status_container,
        status_pod,
        stop_container,
        stop_pod,
    )
    from vctui.engine.podfile import load_container, load_pod
    from vctui.engine.runtime import Runtime
    from vctui.errors import VctuiError
    from vctui.model.agent import AgentConfig
    from vctui.model.container import (
        Capabilities,
        Cmd,
        ContainerConfig,
        ContainerStatus,
        EnvVar,
        Mount,
        Process,
        ProcessListOptions,
    )
    from vctui.model.device import DeviceInfo
    from vctui.model.doctor import Check
    from vctui.model.events import Event, EventKind
    from vctui.model.hook import Hook, Hooks
    from vctui.model.hypervisor import HypervisorConfig, Machine, Param
    from vctui.model.image import Image, ImageDefaults
    from vctui.model.kinds import (
        AgentType,
        DeviceType,
        HypervisorType,
        NetInterworkingModel,
        NetworkModel,
        ProcessListFormat,
        ProxyType,
        ShimType,
        SocketType,
    )
    from vctui.model.linux import ContainerResources, DeviceRule, Linux, Rlimit
    from vctui.model.logs import LogLine, LogSource
    from vctui.model.network import NetworkConfig, PodNetwork
    from vctui.model.pod import PodConfig, PodStatus, Resources
    from vctui.model.proxy import ProxyConfig
    from vctui.model.seccomp import Seccomp, SeccompArg, SeccompRule
    from vctui.model.shim import ShimConfig
    from vctui.model.state import State
    from vctui.model.volume import Volume, format_volumes, parse_volumes
    from vctui.settings import Settings
    from vctui.settings import load as load_settings

_HOMES: Final = {
    "vctui.engine.api": (
        "VCContainer",
        "VCPod",
        "create_container",
        "create_pod",
        "delete_container",
        "delete_pod",
        "enter_container",
        "kill_container",
        "list_pod",
        "pause_pod",
        "process_list_container",
        "resume_pod",
        "run_pod",
        "start_container",
        "start_pod",
        "status_container",
        "status_pod",
        "stop_container",
        "stop_pod",
    ),
    "vctui.engine.podfile": ("load_container", "load_pod"),
    "vctui.engine.runtime": ("Runtime",),
    "vctui.errors": ("VctuiError",),
    "vctui.model.agent": ("AgentConfig",),
    "vctui.model.container": (
        "Capabilities",
        "Cmd",
        "ContainerConfig",
        "ContainerStatus",
        "EnvVar",
        "Mount",
        "Process",
        "ProcessListOptions",
    ),
    "vctui.model.device": ("DeviceInfo",),
    "vctui.model.doctor": ("Check",),
    "vctui.model.events": ("Event", "EventKind"),
    "vctui.model.hook": ("Hook", "Hooks"),
    "vctui.model.hypervisor": ("HypervisorConfig", "Machine", "Param"),
    "vctui.model.image": ("Image", "ImageDefaults"),
    "vctui.model.kinds": (
        "AgentType",
        "DeviceType",
        "HypervisorType",
        "NetInterworkingModel",
        "NetworkModel",
        "ProcessListFormat",
        "ProxyType",
        "ShimType",
        "SocketType",
    ),
    "vctui.model.linux": ("ContainerResources", "DeviceRule", "Linux", "Rlimit"),
    "vctui.model.logs": ("LogLine", "LogSource"),
    "vctui.model.network": ("NetworkConfig", "PodNetwork"),
    "vctui.model.pod": ("PodConfig", "PodStatus", "Resources"),
    "vctui.model.proxy": ("ProxyConfig",),
    "vctui.model.shim": ("ShimConfig",),
    "vctui.model.seccomp": ("Seccomp", "SeccompArg", "SeccompRule"),
    "vctui.model.state": ("State",),
    "vctui.model.volume": ("Volume", "format_volumes", "parse_volumes"),
    "vctui.settings": ("Settings", "load_settings"),
}
_THERE: Final = {"load_settings": "load"}
"""Names that are longer here than at home."""
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AgentConfig",
    "AgentType",
    "Capabilities",
    "Check",
    "Cmd",
    "ContainerConfig",
    "ContainerResources",
    "ContainerStatus",
    "DeviceInfo",
    "DeviceRule",
    "DeviceType",
    "EnvVar",
    "Event",
    "EventKind",
    "Hook",
    "Hooks",
    "HypervisorConfig",
    "HypervisorType",
    "Image",
    "ImageDefaults",
    "Linux",
    "LogLine",
    "LogSource",
    "Machine",
    "Mount",
    "NetInterworkingModel",
    "NetworkConfig",
    "NetworkModel",
    "Param",
    "PodConfig",
    "PodNetwork",
    "PodStatus",
    "Process",
    "ProcessListFormat",
    "ProcessListOptions",
    "ProxyConfig",
    "ProxyType",
    "Resources",
    "Rlimit",
    "Runtime",
    "Seccomp",
    "SeccompArg",
    "SeccompRule",
    "Settings",
    "ShimConfig",
    "ShimType",
    "SocketType",
    "State",
    "VCContainer",
    "VCPod",
    "VctuiError",
    "Volume",
    "__version__",
    "create_container",
    "create_pod",
    "delete_container",
    "delete_pod",
    "enter_container",
    "format_volumes",
    "kill_container",
    "list_pod",
    "load_container",
    "load_pod",
    "load_settings",
    "parse_volumes",
    "pause_pod",
    "process_list_container",
    "resume_pod",
    "run_pod",
    "start_container",
    "start_pod",
    "status_container",
    "status_pod",
    "stop_container",
    "stop_pod",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME_OF[name]), _THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
