"""Pure: a machine's plan → QEMU's arguments.

Option values in which QEMU splits at commas have theirs doubled (`_value`).
What a pod's guest does not need is left out of the machine, as the guest's kernel would
otherwise look for it at each boot; what stands here was measured to pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from vctui.drivers.hypervisors.base import MachinePlan, Size
from vctui.drivers.hypervisors.qemu import nics
from vctui.drivers.hypervisors.qemu.vsock import Vsock
from vctui.model.hypervisor import Param
from vctui.model.kinds import BlockDeviceDriver, MachineType
from vctui.model.network import Endpoint
from vctui.wire.disk import Root

CONTROL: Final = "ctl"
MONITOR: Final = "mon"
SERIAL: Final = "serial"
SCSI_CONTROLLER: Final = "scsi0"
"""Block devices are plugged into its one bus, `scsi0.0`, where the pod has chosen that driver."""
MEMORY: Final = "ram"
"""What a machine boots with, where QEMU's own choice will not do."""
CONSOLE_LOG: Final = "console.log"

_PC: Final = "usb=off,vmport=off,hpet=off,sata=off,smbus=off,smm=off"
_BOARDS: Final = {
    MachineType.Q35: _PC,
    MachineType.PC: _PC,
    MachineType.MICROVM: "usb=off,acpi=on,rtc=on,isa-serial=off",
}
"""A microvm tells the guest of its devices by ACPI; its serial port is added as on the others."""
_SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_CPU: Final = {"kvm": "host", "tcg": "max,-erms"}
_MIB: Final = 1024 * 1024
DEFAULT_BRIDGES: Final = 1
DIMMS: Final = 16
"""How many times a machine can be given memory."""
_MORE_MEMORY: Final = ("iommu=off", "memhp_default_state=online")
"""For a machine that can be given memory. A kernel that expects some above 4 GiB would set 64 MiB
aside for devices that cannot reach it, of which there are none."""
_MODERN_MMIO: Final = ("-global", "virtio-mmio.force-legacy=false")
_QUEUE: Final = 1024
"""Requests that a guest may have under way to a virtiofsd."""
MAX_KERNEL_COMMAND_LINE: Final = 2047
"""Bytes that a Linux kernel on x86 takes (COMMAND_LINE_SIZE less its NUL)."""


def sockets(plan: MachinePlan) -> dict[str, Path]:
    """The unix sockets that the machine serves, by the id of their character device.

    A port's character device is called as the port is.
    """
    places = {name: plan.run_dir / f"{name}.sock" for name in (CONTROL, MONITOR, SERIAL)}
    return places | {port.name: port.socket for port in plan.ports}


def pid_file(run_dir: Path) -> Path:
    """It also marks the process as this pod's: its path stands among the arguments."""
    return run_dir / "qemu.pid"


def share_name(number: int) -> str:
    """Of what serves the plan's share of that number."""
    return f"share{number}"


def has_nvdimm(plan: MachinePlan) -> bool:
    """Whether the image is the guest's memory (DAX) instead of a disk."""
    return plan.image is not None and "nvdimm=on" in _accelerators(plan)


def kernel_command_line(
    plan: MachinePlan, root: Root | None = None, *, tsc_khz: int = 0, grows: bool = False
) -> str:
    """Where the image's root is, parameters of guest and agent, then the pod's own, which win by
    being last."""
    memory = _MORE_MEMORY if grows else ()
    clock = (f"tsc_early_khz={tsc_khz}",) if tsc_khz else ()
    place = _root_parameters(plan, root) if root is not None else ()
    debug = ("debug",) if plan.config.debug else ()
    own = (str(param) for param in plan.config.kernel_params)
    return " ".join((*place, *plan.kernel_params, *memory, *clock, *debug, *own))


def build(
    plan: MachinePlan,
    *,
    program: Path,
    accelerator: str,
    listening: Mapping[str, int],
    sandbox: bool,
    nested: bool = False,
    huge_pages: Path | None = None,
    root: Root | None = None,
    image_size: int = 0,
    tsc_khz: int = 0,
    max_vcpus: int = 0,
    max_memory: int = 0,
    queues: Mapping[str, nics.Queues] | None = None,
    vsock: Vsock | None = None,
    served: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """The whole argument vector, the program first.

    Args:
        accelerator: `kvm` or `tcg`.
        listening: descriptors of listening sockets for each of `sockets(plan)`.
        sandbox: whether this QEMU was built with seccomp.
        nested: whether KVM runs on top of another hypervisor, and the pod has not switched that
            off; virtio devices then speak the legacy protocol only, and there is no performance
            counter, as what these need costs exits of two hypervisors.
        huge_pages: where the host's huge pages are mounted, for `config.huge_pages`.
        root: where in `plan.image` the root file system is.
        image_size: of `plan.image`, in bytes.
        tsc_khz: frequency of the processor's counter, for guests that cannot find it out.
        max_vcpus: how many processors there can be in the end; 0: no more.
        max_memory: MiB that there can be in the end; 0: no more.
        queues: of the endpoints' taps, by the endpoint's id.
        vsock: who serves the machine's vsock device, if it has one.
        served: descriptors of connections to the programs that serve shares, by the share's tag.
    """
    has_pci = plan.config.hypervisor_machine_type is not MachineType.MICROVM
    virtio = _Virtio(legacy=nested, pci=has_pci)
    most = Size(vcpus=max_vcpus, memory=max_memory) if has_pci else Size(vcpus=0, memory=0)
    return (
        str(program),
        *_identity(plan),
        *(("-sandbox", _SANDBOX) if sandbox else ()),
        *_board(plan, accelerator, nested, huge_pages),
        *_size(plan, most, image_size),
        *(_bridges(plan) if has_pci else ()),
        *_scsi(plan, virtio),
        *_entropy(virtio),
        *_channels(plan, virtio, listening),
        *(_vsock(vsock, virtio) if vsock else ()),
        *_shares(plan, virtio, served or {}),
        *_image(plan, virtio, image_size),
        *_nics(plan, virtio, queues or {}, emulated=accelerator == "tcg"),
        *_boot(plan, root, tsc_khz, grows=most.memory > plan.memory),
        *(("-incoming", "defer") if plan.restores else ()),
        *_additional(plan.config.hypervisor_params),
    )


def _identity(plan: MachinePlan) -> tuple[str, ...]:
    """A guest that is to be saved must not learn an identity that its copies would share."""
    return (
        "-name",
        f"vctui-{_value(plan.pod_id)},debug-threads=on",
        *(() if plan.memory_file else ("-uuid", plan.uuid)),
        "-pidfile",
        str(pid_file(plan.run_dir)),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
    )


class _Virtio(msgspec.Struct, frozen=True):
    """How virtio devices are attached."""

    legacy: bool
    pci: bool

    def device(self, kind: str, options: str) -> tuple[str, ...]:
        """Arguments for a device; `kind` is what stands between `virtio-` and the bus."""
        if not self.pci:
            return ("-device", f"virtio-{kind}-device,{options}")
        protocol = ",disable-modern=true" if self.legacy else ""
        return ("-device", f"virtio-{kind}-pci{protocol},{options}")

    def served(self, kind: str, options: str) -> tuple[str, ...]:
        """A device that somebody else serves; its kind is the whole of its name before the bus."""
        return ("-device", f"{kind}-{'pci' if self.pci else 'device'},{options}")


def _board(
    plan: MachinePlan, accelerator: str, nested: bool, huge_pages: Path | None
) -> tuple[str, ...]:
    kind = plan.config.hypervisor_machine_type
    machine = f"{kind},accel={accelerator},{_BOARDS[kind]}"
    cpu = _CPU[accelerator] + (",pmu=off" if nested else "")
    arguments = ["-cpu", cpu]
    if backend := _memory_backend(plan, huge_pages):
        machine += f",memory-backend={MEMORY}"
        arguments += ["-object", backend]
    if plan.config.realtime:
        arguments += ["-overcommit", f"mem-lock={'on' if plan.config.mlock else 'off'}"]
    machine += "".join(f",{option}" for option in _accelerators(plan))
    arguments += ["-rtc", "base=utc,driftfix=slew"]
    if accelerator == "kvm" and kind is not MachineType.MICROVM:
        arguments += ["-global", "kvm-pit.lost_tick_policy=discard"]
    return ("-machine", machine, *arguments)


def _size(plan: MachinePlan, most: Size, image_size: int) -> tuple[str, ...]:
    """Processors and memory, with room for more of both."""
    vcpus, memory = str(plan.vcpus), f"{plan.memory}M"
    if most.vcpus > plan.vcpus:
        vcpus += f",maxcpus={most.vcpus}"
    end, slots = max(most.memory, plan.memory), DIMMS if most.memory > plan.memory else 0
    if has_nvdimm(plan):
        end, slots = end + -(-image_size // _MIB), slots + 1
    if slots:
        memory += f",slots={slots},maxmem={end}M"
    return ("-smp", vcpus, "-m", memory)


def _accelerators(plan: MachinePlan) -> list[str]:
    """`nvdimm` is short for `nvdimm=on`, as it was for the original."""
    words = plan.config.machine_accelerators.split(",")
    return [word if "=" in word else f"{word}=on" for word in words if word]


def _memory_backend(plan: MachinePlan, huge_pages: Path | None) -> str:
    """ "" where QEMU's own choice will do."""
    size = f"id={MEMORY},size={plan.memory}M"
    if plan.config.huge_pages and huge_pages is not None:
        path = _value(str(huge_pages))
        return f"memory-backend-file,{size},mem-path={path},share=on,prealloc=on"
    if plan.memory_file is not None:
        return f"memory-backend-file,{size},mem-path={_value(str(plan.memory_file))},share=on"
    if plan.restores is not None:
        return f"memory-backend-file,{size},mem-path={_value(str(plan.restores.memory))},share=off"
    prealloc = ",prealloc=on" if plan.config.mem_prealloc else ""
    if plan.shares_memory:
        return f"memory-backend-memfd,{size},share=on{prealloc}"
    return f"memory-backend-ram,{size}{prealloc}" if prealloc else ""


def _bridges(plan: MachinePlan) -> tuple[str, ...]:
    """What devices are plugged into while the machine runs: `pci-bridge-N`, slots 1 to 30.

    A PCI Express board takes them behind a root port.
    """
    arguments: list[str] = []
    for number in range(plan.config.default_bridges or DEFAULT_BRIDGES):
        name = f"pci-bridge-{number}"
        if plan.config.hypervisor_machine_type is MachineType.Q35:
            port = f"bridge-port-{number}"
            arguments += ["-device", f"pcie-root-port,id={port},bus=pcie.0,chassis={number + 1}"]
            arguments += ["-device", f"pcie-pci-bridge,id={name},bus={port}"]
        else:
            options = f"id={name},bus=pci.0,chassis_nr={number + 1},shpc=on"
            arguments += ["-device", f"pci-bridge,{options}"]
    return tuple(arguments)


def _scsi(plan: MachinePlan, virtio: _Virtio) -> tuple[str, ...]:
    if plan.config.block_device_driver is not BlockDeviceDriver.VIRTIO_SCSI:
        return ()
    return virtio.device("scsi", f"id={SCSI_CONTROLLER}")


def _entropy(virtio: _Virtio) -> tuple[str, ...]:
    source = ("-object", "rng-random,id=entropy,filename=/dev/urandom")
    return (*source, *virtio.device("rng", "rng=entropy"))


def _channels(plan: MachinePlan, virtio: _Virtio, listening: Mapping[str, int]) -> tuple[str, ...]:
    arguments: list[str] = []
    said = SERIAL if plan.memory_file else ""
    for name in sockets(plan):
        kept = f",logfile={_value(str(plan.run_dir / CONSOLE_LOG))}" if name == said else ""
        options = f"socket,id={name},fd={listening[name]},server=on,wait=off{kept}"
        arguments += ["-chardev", options]
    for name in (CONTROL, MONITOR):
        arguments += ["-mon", f"chardev={name},mode=control"]
    by_virtio = _console_is_virtio(plan)
    if not by_virtio:
        arguments += ["-device", f"isa-serial,chardev={SERIAL}"]
    if plan.ports or by_virtio:  # port 0 is kept for a console
        arguments += virtio.device("serial", f"id=ports,max_ports={len(plan.ports) + 1}")
    if by_virtio:
        arguments += ["-device", f"virtconsole,bus=ports.0,nr=0,chardev={SERIAL}"]
    for port in plan.ports:
        # only a port with an id tells by an event (VSERPORT_CHANGE) that the guest opened it
        options = f"bus=ports.0,id={port.name},chardev={port.name},name={port.name}"
        arguments += ["-device", f"virtserialport,{options}"]
    return tuple(arguments)


def _console_is_virtio(plan: MachinePlan) -> bool:
    """Whether the pod or its guest asks for one: a kernel may have no driver of a serial port."""
    consoles = [one.value for one in plan.config.kernel_params if one.key == "console"]
    return bool(consoles) and consoles[-1].startswith("hvc")


def _vsock(vsock: Vsock, virtio: _Virtio) -> tuple[str, ...]:
    if vsock.cid:
        options = f"id=vsock,guest-cid={vsock.cid},vhostfd={vsock.descriptor}"
        return virtio.served("vhost-vsock", options)
    chardev = ("-chardev", f"socket,id=vsock,fd={vsock.descriptor}")
    return (*chardev, *virtio.served("vhost-user-vsock", "chardev=vsock"))


def _shares(plan: MachinePlan, virtio: _Virtio, served: Mapping[str, int]) -> tuple[str, ...]:
    """`security_model=none`: files belong to whom the guest says, as far as we are allowed;
    `remap`: inode numbers of several host file systems do not collide. A saved guest had the first
    share only: the others' devices are plugged into the machine that goes on as it, but what serves
    them cannot be added later."""
    arguments: list[str] = []
    for number, share in enumerate(plan.shares):
        name, path = share_name(number), _value(str(share.path))
        if share.socket is not None:
            arguments += ["-chardev", f"socket,id={name},fd={served[share.tag]}"]
            options = f"chardev={name},tag={_value(share.tag)},queue-size={_QUEUE}"
            arguments += () if virtio.pci else _MODERN_MMIO
            arguments += virtio.served("vhost-user-fs", options)
            continue
        backend = f"local,id={name},path={path},security_model=none,multidevs=remap"
        arguments += ["-fsdev", backend]
        if not (plan.restores and number):
            arguments += virtio.device("9p", f"fsdev={name},mount_tag={_value(share.tag)}")
    return tuple(arguments)


def _image(plan: MachinePlan, virtio: _Virtio, image_size: int) -> tuple[str, ...]:
    """Any number of machines share an image, as none can write to it."""
    if plan.image is None:
        return ()
    path = _value(str(plan.image))
    if has_nvdimm(plan):
        options = f"id=image,size={image_size},mem-path={path},share=on,readonly=on"
        backend = ("-object", f"memory-backend-file,{options}")
        return (*backend, "-device", "nvdimm,id=nv0,memdev=image,unarmed=on")
    file = f"driver=file,filename={path},node-name=image-file,read-only=on"
    raw = "driver=raw,file=image-file,node-name=image,read-only=on"
    return ("-blockdev", file, "-blockdev", raw, *virtio.device("blk", "id=image-disk,drive=image"))


def _nics(
    plan: MachinePlan, virtio: _Virtio, queues: Mapping[str, nics.Queues], *, emulated: bool
) -> tuple[str, ...]:
    arguments: list[str] = []

    def card(endpoint: Endpoint, pairs: int) -> tuple[str, ...]:
        options = nics.card(endpoint, pairs, pci=virtio.pci, emulated=emulated)
        return virtio.device("net", ",".join(f"{key}={options[key]}" for key in options))

    for endpoint in plan.endpoints:
        if endpoint.physical is not None:
            arguments += ["-device", nics.passed(endpoint, endpoint.physical)]
            continue
        if endpoint.socket and plan.restores is None:
            arguments += [*nics.served(endpoint), *card(endpoint, 1)]
        elif (mine := queues.get(endpoint.id)) is not None:
            arguments += ["-netdev", nics.backend(endpoint, mine), *card(endpoint, len(mine.tap))]
    return tuple(arguments)


def _root_parameters(plan: MachinePlan, root: Root) -> tuple[str, ...]:
    part = str(root.partition or "")
    kind = f"rootfstype={root.filesystem}"
    if not has_nvdimm(plan):
        return (f"root=/dev/vda{part}", kind, "ro")
    place = f"root=/dev/pmem0{part and f'p{part}'}"
    dax = ("rootflags=dax",) if root.dax else ()
    return (place, kind, *dax, "ro")


def _boot(plan: MachinePlan, root: Root | None, tsc_khz: int, *, grows: bool) -> tuple[str, ...]:
    arguments: list[str] = []
    if plan.config.firmware_path:
        arguments += ["-bios", plan.config.firmware_path]
    if plan.kernel is not None:
        arguments += ["-kernel", str(plan.kernel)]
        if plan.initrd is not None:
            arguments += ["-initrd", str(plan.initrd)]
        if command_line := kernel_command_line(plan, root, tsc_khz=tsc_khz, grows=grows):
            arguments += ["-append", command_line]
    return tuple(arguments)


def _additional(params: tuple[Param, ...]) -> tuple[str, ...]:
    arguments: list[str] = []
    for param in params:
        arguments += [part for part in (param.key and f"-{param.key}", param.value) if part]
    return tuple(arguments)


def _value(text: str) -> str:
    return text.replace(",", ",,")
