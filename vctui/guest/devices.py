"""Devices that the machine was given for a container, renumbered in its specification."""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.guest import blocks
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.loop import Loop
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import oci_pb2 as oci


PASSED = "vfio-pci-gk"
"""A device of the host that was passed through, for the guest's kernel; its options are
`address on the host=PCI path` each."""
TYPES = (*blocks.DRIVERS, PASSED)


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
        if device.type not in TYPES:
            raise AgentError(
                f"there is no device type {device.type!r} here; there are {', '.join(TYPES)}",
                code=ttrpc.INVALID_ARGUMENT,
            )
    places = {}
    for device in wanted:
        if device.type == PASSED:
            for option in device.options:
                await blocks.wait_pci(loop, config.sys, option.partition("=")[2])
            continue
        disk = await blocks.wait(loop, children, config, device.type, device.id)
        places[device.container_path] = disk.numbers
    renumber(linux, places)


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
