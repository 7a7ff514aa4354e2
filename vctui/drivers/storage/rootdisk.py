"""Root file systems on block devices, which a machine is given instead of a share (sheet §7.2).

Two kernels that write to one file system destroy it. So a device that the host has mounted is
given away only where neither the host nor the guest can write to it; the original gave it in any
case. A folder on a mounted device that the host writes to is shared as every other folder is.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from vctui.errors import FileProblem, InvalidConfig
from vctui.linux import mountinfo
from vctui.linux.mountinfo import Mounted
from vctui.linux.problems import host_problem
from vctui.model.container import ContainerConfig
from vctui.model.hypervisor import HypervisorConfig
from vctui.wire import disk

_MAPPED: Final = ("dm", "loop")
"""Folders that the kernel has in /sys for device-mapper and loop devices: those that somebody
made for a purpose of their own, and no disk of the host."""


class RootDisk(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container's root file system is."""

    device: Path
    filesystem: str
    """As `mount -t` calls it."""
    folder: str = ""
    """Of the device's file system; "" for all of it."""
    read_only: bool = False


def find(
    config: ContainerConfig,
    hypervisor: HypervisorConfig,
    *,
    mounts: tuple[Mounted, ...] | None = None,
    sys: Path = Path("/sys"),
) -> RootDisk | None:
    """The device to give to the machine; None where the root file system is to be shared.

    Raises:
        FileProblem: the container names a device that cannot be given away.
        InvalidConfig: the machine takes none.
        PermissionProblem: we may not read it.
    """
    if config.image or not config.rootfs.startswith("/"):
        return None
    path = Path(os.path.realpath(config.rootfs))
    try:
        found = path.stat()
    except OSError:
        return None  # whoever shares it says so
    there = mountinfo.read() if mounts is None else mounts
    if stat.S_ISBLK(found.st_mode):
        _check_device(config, hypervisor, (os.major(found.st_rdev), os.minor(found.st_rdev)), there)
        return RootDisk(
            device=path, filesystem=_filesystem(config, path), read_only=config.readonly_rootfs
        )
    if hypervisor.disable_block_device_use or not hypervisor.takes_disks:
        return None
    return _of_folder(path, there, sys)


def _check_device(
    config: ContainerConfig,
    hypervisor: HypervisorConfig,
    numbers: tuple[int, int],
    mounts: tuple[Mounted, ...],
) -> None:
    named = f"the root file system {config.rootfs!r} of container {config.id!r}"
    if hypervisor.disable_block_device_use:
        raise InvalidConfig(
            f"{named} is a block device, but hypervisor_config.disable_block_device_use is set; "
            "mount it and name the folder, or leave that out"
        )
    if not hypervisor.takes_disks:
        raise InvalidConfig(
            f"{named} is a block device, which a microvm takes only with "
            "hypervisor_config.block_device_driver virtio-scsi; set that, or choose q35"
        )
    for one in mounts:
        if one.device == numbers and not (one.read_only and config.readonly_rootfs):
            raise FileProblem(
                f"{named} is mounted on this host at {one.point}; unmount it, or mount it "
                "read-only and set readonly_rootfs"
            )


def _of_folder(path: Path, mounts: tuple[Mounted, ...], sys: Path) -> RootDisk | None:
    on = mountinfo.holding(path, mounts)
    if on is None or not path.is_dir():
        return None
    block = sys / f"dev/block/{on.device[0]}:{on.device[1]}"
    if not any((block / kind).is_dir() for kind in _MAPPED):
        return None
    if not all(one.read_only for one in mounts if one.device == on.device):
        return None
    device = Path("/dev") / _name(block)
    try:
        filesystem = _detect(device)
    except (OSError, ValueError):
        return None
    inside = os.path.relpath(path, on.point)
    folder = os.path.normpath(f"{on.root}/{inside}").strip("/")
    return RootDisk(device=device, filesystem=filesystem, folder=folder, read_only=True)


def _name(block: Path) -> str:
    """What /dev calls a device of /sys/dev/block."""
    return block.resolve().name.replace("!", "/")


def _filesystem(config: ContainerConfig, device: Path) -> str:
    try:
        return _detect(device)
    except OSError as error:
        raise host_problem(error, f"read {device}") from error
    except ValueError as error:
        raise FileProblem(
            f"the root file system {config.rootfs!r} of container {config.id!r} cannot be used: "
            f"{error}"
        ) from error


def _detect(device: Path) -> str:
    """
    Raises:
        ValueError: there is no file system that fills the device.
    """
    with device.open("rb") as file:
        descriptor = file.fileno()
        root = disk.find_root(lambda offset, length: os.pread(descriptor, length, offset))
    if root.partition:
        raise ValueError(f"it has partitions; name the device of its partition {root.partition}")
    return root.filesystem
