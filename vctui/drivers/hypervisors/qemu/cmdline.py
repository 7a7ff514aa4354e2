"""Pure: a machine's plan → QEMU's arguments.

Option values in which QEMU splits at commas have theirs doubled (`_value`).
What a pod's guest does not need is left out of the machine, as the guest's kernel would
otherwise look for it at each boot; what stands here was measured to pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vctui.drivers.hypervisors.base import MachinePlan
from vctui.model.hypervisor import Param

CONTROL: Final = "ctl"
MONITOR: Final = "mon"
SERIAL: Final = "serial"

_MACHINE: Final = "usb=off,vmport=off,hpet=off,sata=off,smbus=off,smm=off"
_SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_CPU: Final = {"kvm": "host", "tcg": "max"}
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


def kernel_command_line(plan: MachinePlan) -> str:
    """Parameters of guest and agent, then the pod's own, which win by being last."""
    debug = ("debug",) if plan.config.debug else ()
    own = (str(param) for param in plan.config.kernel_params)
    return " ".join((*plan.kernel_params, *debug, *own))


def build(
    plan: MachinePlan,
    *,
    program: Path,
    accelerator: str,
    listening: Mapping[str, int],
    sandbox: bool,
) -> tuple[str, ...]:
    """The whole argument vector, the program first.

    Args:
        accelerator: `kvm` or `tcg`.
        listening: descriptors of listening sockets for each of `sockets(plan)`.
        sandbox: whether this QEMU was built with seccomp.
    """
    return (
        str(program),
        *_identity(plan),
        *(("-sandbox", _SANDBOX) if sandbox else ()),
        *_board(plan, accelerator),
        *_channels(plan, listening),
        *_shares(plan),
        *_boot(plan),
        *_additional(plan.config.hypervisor_params),
    )


def _identity(plan: MachinePlan) -> tuple[str, ...]:
    return (
        "-name",
        f"vctui-{_value(plan.pod_id)},debug-threads=on",
        "-uuid",
        plan.uuid,
        "-pidfile",
        str(pid_file(plan.run_dir)),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
    )


def _board(plan: MachinePlan, accelerator: str) -> tuple[str, ...]:
    machine = f"{plan.config.hypervisor_machine_type},accel={accelerator},{_MACHINE}"
    arguments = ["-cpu", _CPU[accelerator], "-smp", str(plan.vcpus), "-m", f"{plan.memory}M"]
    if plan.config.mem_prealloc:
        machine += ",memory-backend=ram"
        arguments += ["-object", f"memory-backend-ram,id=ram,size={plan.memory}M,prealloc=on"]
    if plan.config.machine_accelerators:
        machine += f",{plan.config.machine_accelerators}"
    arguments += ["-rtc", "base=utc,driftfix=slew"]
    if accelerator == "kvm":
        arguments += ["-global", "kvm-pit.lost_tick_policy=discard"]
    arguments += ["-object", "rng-random,id=entropy,filename=/dev/urandom"]
    arguments += ["-device", "virtio-rng-pci,rng=entropy"]
    return ("-machine", machine, *arguments)


def _channels(plan: MachinePlan, listening: Mapping[str, int]) -> tuple[str, ...]:
    arguments: list[str] = []
    for name in sockets(plan):
        arguments += ["-chardev", f"socket,id={name},fd={listening[name]},server=on,wait=off"]
    for name in (CONTROL, MONITOR):
        arguments += ["-mon", f"chardev={name},mode=control"]
    arguments += ["-device", f"isa-serial,chardev={SERIAL}"]
    if plan.ports:  # port 0 is kept for a console
        arguments += ["-device", f"virtio-serial-pci,id=ports,max_ports={len(plan.ports) + 1}"]
    for number, port in enumerate(plan.ports, start=1):
        # only a port with an id tells by an event (VSERPORT_CHANGE) that the guest opened it
        options = f"bus=ports.0,id=port{number},chardev={port.name},name={port.name}"
        arguments += ["-device", f"virtserialport,{options}"]
    return tuple(arguments)


def _shares(plan: MachinePlan) -> tuple[str, ...]:
    """`security_model=none`: files belong to whom the guest says, as far as we are allowed;
    `remap`: inode numbers of several host file systems do not collide."""
    arguments: list[str] = []
    for number, share in enumerate(plan.shares):
        name, path = f"share{number}", _value(str(share.path))
        backend = f"local,id={name},path={path},security_model=none,multidevs=remap"
        arguments += ["-fsdev", backend]
        arguments += ["-device", f"virtio-9p-pci,fsdev={name},mount_tag={_value(share.tag)}"]
    return tuple(arguments)


def _boot(plan: MachinePlan) -> tuple[str, ...]:
    arguments: list[str] = []
    if plan.config.firmware_path:
        arguments += ["-bios", plan.config.firmware_path]
    if plan.kernel is not None:
        arguments += ["-kernel", str(plan.kernel)]
        if plan.initrd is not None:
            arguments += ["-initrd", str(plan.initrd)]
        if command_line := kernel_command_line(plan):
            arguments += ["-append", command_line]
    return tuple(arguments)


def _additional(params: tuple[Param, ...]) -> tuple[str, ...]:
    arguments: list[str] = []
    for param in params:
        arguments += [part for part in (param.key and f"-{param.key}", param.value) if part]
    return tuple(arguments)


def _value(text: str) -> str:
    return text.replace(",", ",,")
