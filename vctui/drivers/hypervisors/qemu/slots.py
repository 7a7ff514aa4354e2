"""Pure: where in the machine a device that is plugged in finds its place (behaviour sheet §4.5).

No table is kept of what is taken: QEMU's own is the only one that is right after a crash of an
engine between a plugging and its note, and while a guest takes its time to let go of a device.
The pod is held alone by whoever plugs, so no two take the same place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vctui.errors import HypervisorError

BRIDGE: Final = "pci-bridge-"
"""What the ids of bridges begin with that take devices."""
_SLOTS: Final = range(1, 31)
_LUNS: Final = 256
"""Of a SCSI target."""
_TARGETS: Final = 256

Pci = Sequence[Mapping[str, Any]]
"""What `query-pci` returns."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A free place for a PCI device."""

    bus: str
    number: int
    path: str
    """As the guest finds it: the slots from the root bus on, `02/00/01`."""


@dataclass(frozen=True, slots=True, order=True)
class Lun:
    """A place of a SCSI disk on the machine's controller."""

    target: int
    lun: int

    def __str__(self) -> str:
        """As agents want it."""
        return f"{self.target}:{self.lun}"


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


def free_lun(used: Iterable[Lun]) -> Lun:
    """The lowest one that no disk has: index N is LUN N mod 256 of target N div 256.

    Raises:
        HypervisorError: there are 65536 disks.
    """
    taken = set(used)
    for index in range(_TARGETS * _LUNS):
        place = Lun(*divmod(index, _LUNS))
        if place not in taken:
            return place
    raise HypervisorError(
        f"the machine's SCSI controller is full with {len(taken)} disks; give containers fewer"
    )


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
