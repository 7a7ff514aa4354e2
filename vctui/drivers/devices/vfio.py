"""Devices that are passed through to a machine: the IOMMU groups of /dev/vfio (sheet §7.4)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vctui.errors import FileProblem, HostProblem, PermissionProblem
from vctui.linux import pci
from vctui.model.device import DeviceInfo

_FOLDER: Final = "/dev/vfio/"
_CONTROL: Final = "/dev/vfio/vfio"


def is_group(info: DeviceInfo) -> bool:
    """Whether the device is an IOMMU group, whatever its type says."""
    path = info.host_path
    return path.startswith(_FOLDER) and not path.startswith(_CONTROL)


def functions(
    info: DeviceInfo, *, sys: Path = Path("/sys"), dev: Path = Path("/dev")
) -> tuple[str, ...]:
    """PCI addresses (`0000:01:00.0`) of what a group has for a machine: all but bridges.

    Raises:
        HostProblem: the host has no such group, or a driver of its own has a device of it.
        FileProblem: there is nothing in it.
        PermissionProblem: we may not open it.
    """
    group = info.host_path.removeprefix(_FOLDER)
    folder = sys / "kernel/iommu_groups" / group
    if not group.isdecimal() or not (folder / "devices").is_dir():
        raise HostProblem(
            f"the device {info.host_path!r} needs the IOMMU group {group!r}, which this host "
            "does not have; switch the IOMMU on (intel_iommu=on or amd_iommu=on) and bind the "
            "group's devices to vfio-pci"
        )
    found = pci.functions(folder)
    for entry in found:
        if not pci.is_address(entry.name):
            raise FileProblem(
                f"the IOMMU group {group} has {entry.name!r}, which is no PCI device; leave "
                f"{info.host_path!r} out"
            )
        name = pci.driver(entry) or "no driver"
        if name != pci.PASSING:
            raise HostProblem(
                f"the device {entry.name} of the IOMMU group {group} is bound to {name}; run "
                f"`driverctl set-override {entry.name} {pci.PASSING}`, or bind it in another way"
            )
    if not found:
        raise FileProblem(f"the IOMMU group {group} is empty; leave {info.host_path!r} out")
    if not os.access(dev / "vfio" / group, os.R_OK | os.W_OK):
        raise PermissionProblem(
            f"the device {info.host_path!r} cannot be opened; run vctui as root, or give yourself "
            "the right to read and write it"
        )
    return tuple(entry.name for entry in found)
