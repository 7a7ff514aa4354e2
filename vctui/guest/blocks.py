"""Disks that were plugged into the machine: found by their place on the PCI bus or on the SCSI
controller (sheet §7.3)."""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest.modules import insert
from vctui.guest.uevents import appears
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.loop import Loop

DRIVERS = {"blk": ("virtio_blk",), "scsi": ("virtio_scsi", "sd_mod")}
"""Kernel modules by the agent protocol's word for how a disk is attached."""
_PATIENCE = 10.0
"""Seconds for the kernel to see a device that was plugged in (sheet §8: agent.hotplug_timeout)."""
_LOOK_AGAIN = 0.02
_LET_GO = 5.0
"""Seconds for the kernel to end a file system whose last process was killed."""
_ROOT = "devices/pci0000:00"
_HEX = set("0123456789abcdef")


class Disk:
    """`name` as in /dev and /sys/block."""

    def __init__(self, name: str, major: int, minor: int) -> None:
        self.name = name
        self.numbers = (major, minor)


async def wait(loop: Loop, children: Children, config: Config, kind: str, place: str) -> Disk:
    """The disk at a place, when the kernel has it.

    Args:
        kind: of `DRIVERS`.
        place: `slot[.function]` in hexadecimal from the root bus on, with `/` between; for `scsi`
            `ID:LUN`.

    Raises:
        AgentError: that is no place, or no disk comes there in time.
    """
    look = find_scsi if kind == "scsi" else find_pci
    look(config.sys, place)  # refuses what is no place before anything is done
    await insert(children, config, *DRIVERS[kind])

    def found() -> Disk | None:
        disk = look(config.sys, place)
        if disk is None and kind == "scsi":
            scan_scsi(config.sys, place)
        return disk if disk is not None and _opens(disk) else None

    disk = await appears(loop, found, _PATIENCE)
    if disk is None:
        raise AgentError(f"no disk came at {place} within {_PATIENCE:g} s")
    return disk


async def wait_pci(loop: Loop, sys: str, path: str) -> None:
    """Until the kernel has a device at a PCI path.

    Raises:
        AgentError: it is no PCI path, or none comes there in time.
    """
    if not await appears(loop, lambda: pci_device(sys, path) or None, _PATIENCE):
        raise AgentError(f"no device came at {path} within {_PATIENCE:g} s")


async def wait_unused(loop: Loop, name: str) -> None:
    """Until no file system is on the disk any more, so that all is written.

    Raises:
        AgentError: one stays.
    """
    waited = 0.0
    while True:
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except FileNotFoundError:
            return
        except OSError as error:
            if waited >= _LET_GO:
                raise AgentError(f"the disk {name} stays in use: {error.strerror}") from error
        else:
            return
        await loop.sleep(_LOOK_AGAIN)
        waited += _LOOK_AGAIN


def find_pci(sys: str, path: str) -> Disk | None:
    """The virtio disk at a PCI path; None while it is not there.

    Raises:
        AgentError: it is no PCI path.
    """
    folder = pci_device(sys, path)
    for virtio in names(folder) if folder else ():
        if virtio.startswith("virtio"):
            for disk in _disks(f"{folder}/{virtio}/block"):
                return disk
    return None


def pci_device(sys: str, path: str) -> str:
    """The folder of the PCI device at a path, "" while it is not there.

    Raises:
        AgentError: it is no PCI path.
    """
    folder = f"{sys}/{_ROOT}"
    for step in path.split("/"):
        slot, _, function = step.partition(".")
        if not (0 < len(slot) <= 2 and len(function) <= 1 and set(slot + function) <= _HEX):
            raise AgentError(f"{path!r} is no PCI path", code=ttrpc.INVALID_ARGUMENT)
        ending = f":{slot:0>2}.{function or 0}"
        found = [name for name in names(folder) if name.endswith(ending)]
        if not found:
            return ""
        folder = f"{folder}/{found[0]}"
    return folder


def find_scsi(sys: str, address: str) -> Disk | None:
    """The disk at `ID:LUN` of a SCSI controller; None while it is not there.

    Raises:
        AgentError: it is no address.
    """
    target, lun = _scsi_address(address)
    folder = f"{sys}/bus/scsi/devices"
    for name in names(folder):
        if name.partition(":")[2] == f"0:{target}:{lun}":
            for disk in _disks(f"{folder}/{name}/block"):
                return disk
    return None


def scan_scsi(sys: str, address: str) -> None:
    """Have the controllers look at an address: they find disks by themselves only when their
    driver begins, or is told."""
    target, lun = _scsi_address(address)
    hosts = f"{sys}/class/scsi_host"
    for host in names(hosts):
        try:
            with open(f"{hosts}/{host}/scan", "w", encoding="ascii") as file:
                file.write(f"0 {target} {lun}")
        except OSError:
            continue


def _scsi_address(text: str) -> tuple[int, int]:
    target, colon, lun = text.partition(":")
    if not colon or any(
        not (part.isascii() and part.isdecimal() and len(part) <= 5 and int(part) <= 0xFFFF)
        for part in (target, lun)
    ):
        raise AgentError(f"{text!r} is no SCSI address", code=ttrpc.INVALID_ARGUMENT)
    return int(target), int(lun)


def _disks(folder: str) -> Iterator[Disk]:
    """The kernel makes the folder of a disk before what is in it."""
    for name in names(folder):
        try:
            with open(f"{folder}/{name}/dev", encoding="ascii") as file:
                major, _, minor = file.read().strip().partition(":")
        except FileNotFoundError:
            continue
        yield Disk(name, int(major), int(minor))


def _opens(disk: Disk) -> bool:
    """The last that the kernel does for a new disk, before it announces it."""
    try:
        os.close(os.open(f"/dev/{disk.name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def names(folder: str) -> list[str]:
    """What is in a folder of /sys; nothing where there is none."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
