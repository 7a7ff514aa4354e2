"""Devices that the machine was given for a container: found by their place on the PCI bus."""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.loop import Loop
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import oci_pb2 as oci

_PATIENCE = 10.0
"""Seconds for the kernel to see a device that was plugged in (sheet §8: agent.hotplug_timeout)."""
_LOOK_AGAIN = 0.02
_ROOT = "devices/pci0000:00"
_HEX = set("0123456789abcdef")


async def bind(
    loop: Loop,
    children: Children,
    config: Config,
    devices: Iterable[agent.Device],
    linux: oci.Linux,
) -> None:
    """Wait for the devices of a request, and put their numbers into its specification.

    The specification has the host's numbers for them, also in the rules of the control group
    (as the Kata agent has it, sheet §7.3).

    Raises:
        AgentError: a device is of another type, does not come, or is not in the specification.
    """
    wanted = list(devices)
    for device in wanted:
        if device.type != "blk":
            raise AgentError(
                f"there is no device type {device.type!r} here; there is blk",
                code=ttrpc.INVALID_ARGUMENT,
            )
    if wanted:
        await _insert_driver(children, config)
    places = {each.container_path: await _wait(loop, config.sys, each.id) for each in wanted}
    renumber(linux, places)


def find_block(sys: str, pci_path: str) -> tuple[int, int] | None:
    """Numbers of the block device at a PCI path; None while it is not there.

    Args:
        pci_path: hexadecimal `slot[.function]` from the root bus on, with `/` between.

    Raises:
        AgentError: it is no PCI path.
    """
    folder = f"{sys}/{_ROOT}"
    for step in pci_path.split("/"):
        slot, _, function = step.partition(".")
        if not (0 < len(slot) <= 2 and len(function) <= 1 and set(slot + function) <= _HEX):
            raise AgentError(f"{pci_path!r} is no PCI path", code=ttrpc.INVALID_ARGUMENT)
        ending = f":{slot:0>2}.{function or 0}"
        names = [name for name in _names(folder) if name.endswith(ending)]
        if not names:
            return None
        folder = f"{folder}/{names[0]}"
    for virtio in _names(folder):
        if virtio.startswith("virtio"):
            for block in _names(f"{folder}/{virtio}/block"):
                with open(f"{folder}/{virtio}/block/{block}/dev", encoding="ascii") as file:
                    major, _, minor = file.read().strip().partition(":")
                return int(major), int(minor)
    return None


async def _wait(loop: Loop, sys: str, pci_path: str) -> tuple[int, int]:
    waited = 0.0
    while (numbers := find_block(sys, pci_path)) is None:
        if waited >= _PATIENCE:
            raise AgentError(f"no block device came at {pci_path} within {_PATIENCE:g} s")
        await loop.sleep(_LOOK_AGAIN)
        waited += _LOOK_AGAIN
    return numbers


async def _insert_driver(children: Children, config: Config) -> None:
    """The kernel may have it built in; then there is nothing to insert, and no device missing."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        words = ["busybox", "modprobe", "virtio_blk"]
        _, ended = children.spawn(config.busybox, words, {}, dict.fromkeys(range(3), null))
        await ended
    finally:
        os.close(null)


def renumber(linux: oci.Linux, places: dict[str, tuple[int, int]]) -> None:
    """Put the guest's numbers, by paths in the container, for those of the host.

    Raises:
        AgentError: a device is not in the specification.
    """
    numbers = {}
    missing = set(places)
    for device in linux.Devices:
        if device.Path in places:
            missing.discard(device.Path)
            numbers[device.Major, device.Minor] = places[device.Path]
            device.Major, device.Minor = places[device.Path]
    if missing:
        raise AgentError(
            f"the device {min(missing)!r} is not in the container's specification",
            code=ttrpc.INVALID_ARGUMENT,
        )
    for rule in linux.Resources.Devices:
        if rule.Type == "b" and (rule.Major, rule.Minor) in numbers:
            rule.Major, rule.Minor = numbers[rule.Major, rule.Minor]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
