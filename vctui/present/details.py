"""A pod's or container's status as sections of label and value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vctui.model.container import ContainerStatus
from vctui.model.device import DeviceInfo
from vctui.model.hostnetwork import HostPlugin, NetworkDetails
from vctui.model.kinds import HypervisorType
from vctui.model.network import Endpoint, PodNetwork, Route
from vctui.model.pod import PodStatus
from vctui.present import condition
from vctui.present.humanize import age, moment, plain


@dataclass(frozen=True, slots=True)
class Field:
    label: str
    value: str
    role: str = ""
    """Name of a colour of the theme."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    fields: tuple[Field, ...]


def _section(title: str, *fields: Field | None) -> Section:
    return Section(title, tuple(field for field in fields if field and field.value))


def _when(label: str, moment_: datetime | None, now: datetime) -> Field | None:
    return Field(label, f"{moment(moment_)}  ({age(moment_, now)} ago)") if moment_ else None


def pod(status: PodStatus, now: datetime) -> tuple[Section, ...]:
    """Everything that is known of a pod, without its containers."""
    state = condition.of_pod(status)
    sections = [
        _section(
            "Pod",
            Field("id", status.id),
            Field("state", str(state), state.role),
            Field("reason", plain(status.reason, 1000), "warning"),
            Field("hostname", status.hostname),
            _when("created", status.created_time, now),
            _when("started", status.start_time, now),
        )
    ]
    machine = status.machine
    config = status.hypervisor_config
    sections.append(
        _section(
            "Machine",
            Field("hypervisor", status.hypervisor.value),
            Field("machine type", config.hypervisor_machine_type.value)
            if status.hypervisor is HypervisorType.QEMU
            else None,
            Field("accelerator", _accelerator(machine.accelerator)) if machine else None,
            Field("started by", plain(machine.boot)) if machine else None,
            Field("process", f"pid {machine.pid}") if machine and machine.pid else None,
            Field("shared folders", _shared_folders(status)),
            Field("virtual CPUs", _vcpus(status)),
            Field("memory", _memory(status)),
            Field("kernel", machine.kernel if machine else config.kernel_path),
            Field("initrd", machine.initrd if machine else config.initrd_path),
            Field("image", machine.image if machine else config.image_path),
            Field("vsock", plain(machine.vsock)) if machine else None,
            Field("kernel parameters", " ".join(map(str, config.kernel_params))),
            Field("uuid", machine.uuid) if machine else None,
            Field("debug", "on") if config.debug else None,
        )
    )
    sections.append(
        _section(
            "Companions",
            Field("agent", status.agent.value),
            Field("proxy", status.proxy.value),
            Field("proxy's program", status.proxy_config.path),
            Field("shim", status.shim.value),
            Field("shim's program", status.shim_config.path),
            Field("monitor", f"pid {status.monitor_pid}" if status.monitor_pid else ""),
        )
    )
    return (*sections, *pod_network(status.network), *_annotations(status.annotations))


def _shared_folders(status: PodStatus) -> str:
    if status.hypervisor is not HypervisorType.QEMU:
        return ""
    how = status.hypervisor_config.shared_fs.value
    daemons = status.machine.daemons if status.machine else ()
    pids = ", ".join(f"{plain(one.tag)} by pid {one.pid}" for one in daemons)
    return f"{how} ({pids})" if pids else how


def pod_network(it: PodNetwork | None) -> tuple[Section, ...]:
    """A section for each interface of a pod that runs, then its routes and name servers."""
    if it is None:
        return ()
    joined = {one.interface: one.network for one in it.attachments}
    ports = {one.interface: [str(port) for port in one.ports] for one in it.attachments}
    interfaces = (
        _section(
            f"Interface {plain(one.interface.name)}",
            Field("network", joined.get(one.interface.name, "")),
            Field("addresses", ", ".join(one.interface.addresses)),
            Field("host's ports", ", ".join(ports.get(one.interface.name, ()))),
            Field("hardware address", one.interface.mac),
            Field("MTU", str(one.interface.mtu)),
            Field("connected by", _wiring(one)),
            Field("host's device", one.tap or one.socket or (card.bdf if card else "")),
        )
        for one, card in ((one, one.physical) for one in it.endpoints)
    )
    dns = it.dns
    names = " ".join((*dns.nameservers, *(f"search {name}" for name in dns.search)))
    rest = _section(
        "Network",
        Field("namespace", it.namespace),
        *(Field("route" if n == 0 else "", _route(one)) for n, one in enumerate(it.routes)),
        Field("name servers", plain(names)),
    )
    return (*interfaces, rest)


def _wiring(one: Endpoint) -> str:
    """How the interface is connected; by its kind alone where that leaves no choice."""
    return f"{one.type.value}, {one.model.value}" if one.tap else one.type.value


def _route(one: Route) -> str:
    dest = one.dest or ("default" if one.family == 4 else "default (IPv6)")
    through = f" via {one.gateway}" if one.gateway else ""
    return plain(f"{dest}{through} dev {one.device}")


def container(status: ContainerStatus, now: datetime) -> tuple[Section, ...]:
    state = condition.of_container(status)
    devices = status.devices
    return (
        _section(
            "Container",
            Field("id", status.id),
            Field("state", str(state), state.role),
            Field("exit status", _exit(status.exit_code)),
            Field("reason", plain(status.reason, 1000), "warning"),
            Field("command", plain(" ".join(status.args), 2000)),
            Field("terminal", "yes" if status.terminal else "no"),
            Field("root file system", status.rootfs),
            Field("image", status.image),
            *(Field("device" if n == 0 else "", _device(one)) for n, one in enumerate(devices)),
            _when("started", status.start_time, now),
            _when("finished", status.finished_time, now),
            Field("process", f"pid {status.pid} (on the host)" if status.pid else ""),
        ),
        *_annotations(status.annotations),
    )


def network(details: NetworkDetails) -> tuple[Section, ...]:
    """A network of the host, its programs, and who is on it."""
    it = details.network
    return (
        _section(
            "Network",
            Field("name", it.name),
            Field("file", plain(it.file)),
            Field("made by", "vctui network init" if it.made_here else ""),
            Field("default", "joined by pods that name no network" if it.default else ""),
            Field("CNI version", it.cni_version),
            Field("bridge", plain(it.bridge)),
            Field("subnets", plain(", ".join(it.subnets))),
            Field("pods", ", ".join(it.pods)),
        ),
        _section("Plugins", *(_plugin(one) for one in details.plugins)),
    )


def _plugin(one: HostPlugin) -> Field:
    if one.problem:
        return Field(one.name, plain(one.problem, 1000), "error")
    return Field(one.name, plain(f"{one.path}  (CNI {', '.join(one.versions[-3:])})"))


def _annotations(annotations: dict[str, str]) -> tuple[Section, ...]:
    if not annotations:
        return ()
    fields = (Field(key, plain(value)) for key, value in sorted(annotations.items()))
    return (_section("Annotations", *fields),)


def _accelerator(name: str) -> str:
    return {"kvm": "KVM", "tcg": "TCG (software emulation)"}.get(name, name)


def _vcpus(status: PodStatus) -> str:
    machine = status.machine
    if machine is None:
        return str(status.vm_config.vcpus or "default")
    grew = 0 < machine.boot_vcpus != machine.vcpus
    return f"{machine.vcpus}, started with {machine.boot_vcpus}" if grew else str(machine.vcpus)


def _memory(status: PodStatus) -> str:
    machine = status.machine
    if machine is None:
        return f"{status.vm_config.memory} MiB" if status.vm_config.memory else "default"
    grew = 0 < machine.boot_memory != machine.memory
    start = f", started with {machine.boot_memory} MiB" if grew else ""
    return f"{machine.memory} MiB{start}"


def _device(info: DeviceInfo) -> str:
    """One that the machine was given."""
    return plain(f"{info.container_path} is {info.host_path} of the host, plugged in as {info.id}")


def _exit(code: int | None) -> str:
    if code is None:
        return ""
    return f"{code} (signal {code - 128})" if 128 < code <= 192 else str(code)
