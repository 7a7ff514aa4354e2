"""Pure: a device → QMP commands, and where it is then (behaviour sheet §4.5).

No table of slots is kept: what `query-pci` tells is what there is, whoever plugged it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vctui.errors import HypervisorError

BRIDGE: Final = "pci-bridge-"
"""What the ids of bridges begin with that take devices."""
_SLOTS: Final = range(1, 31)

Pci = Sequence[Mapping[str, Any]]
"""What `query-pci` returns."""
Command = tuple[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Slot:
    """A free place for a device."""

    bus: str
    number: int
    path: str
    """As the guest finds it: the slots from the root bus on, `02/00/01`."""


def device_id(name: str) -> str:
    """What the device is called in QEMU; `name` stays for its block node."""
    return f"virtio-{name}"


def free_slot(pci: Pci) -> Slot:
    """The lowest free slot of the first bridge that has one.

    Raises:
        HypervisorError: there is no bridge, or all are full.
    """
    bridges = 0
    for path, device in _devices(pci):
        if not device["qdev_id"].startswith(BRIDGE):
            continue
        bridges += 1
        used = {each["slot"] for each in device.get("pci_bridge", {}).get("devices", ())}
        for number in _SLOTS:
            if number not in used:
                return Slot(device["qdev_id"], number, f"{path}/{number:02x}")
    if not bridges:
        raise HypervisorError(
            "the machine has no bridge that a device could be plugged into; choose the machine "
            "type q35 or pc"
        )
    raise HypervisorError(
        f"the machine's {bridges} bridges for devices are full; raise "
        "hypervisor_config.default_bridges, or give containers fewer devices"
    )


def has_device(pci: Pci, name: str) -> bool:
    return any(device["qdev_id"] == device_id(name) for _, device in _devices(pci))


def add_node(name: str, path: str) -> Command:
    """Open a block device of the host."""
    file = {"driver": "host_device", "filename": path}
    return "blockdev-add", {"driver": "raw", "node-name": name, "file": file}


def add_block(name: str, slot: Slot) -> Command:
    return "device_add", {
        "driver": "virtio-blk-pci",
        "id": device_id(name),
        "drive": name,
        "bus": slot.bus,
        "addr": f"{slot.number:#x}",
    }


def remove_device(name: str) -> Command:
    return "device_del", {"id": device_id(name)}


def remove_node(name: str) -> Command:
    return "blockdev-del", {"node-name": name}


def is_gone(event: Mapping[str, Any], name: str) -> bool:
    """Whether the event tells that the guest has let go of the device."""
    return event.get("event") == "DEVICE_DELETED" and event.get("data", {}).get(
        "device"
    ) == device_id(name)


def _devices(pci: Pci) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for bus in pci:
        yield from _below(bus.get("devices", ()), "")


def _below(
    devices: Sequence[Mapping[str, Any]], before: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for device in devices:
        function = f".{device['function']:x}" if device["function"] else ""
        path = f"{before}{device['slot']:02x}{function}"
        yield path, device
        yield from _below(device.get("pci_bridge", {}).get("devices", ()), f"{path}/")
