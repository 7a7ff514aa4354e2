"""Devices plugged into a running machine and out of it, over its control socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vctui.drivers.hypervisors.base import BlockDevice, PassedDevice, Place, Share
from vctui.drivers.hypervisors.qemu import cmdline, slots
from vctui.errors import HypervisorError
from vctui.model.kinds import BlockDeviceDriver

if TYPE_CHECKING:
    from vctui.drivers.hypervisors.qemu.qmp import Session

PERIPHERAL: Final = "/machine/peripheral"
"""Where QEMU keeps the devices that were given an id."""
_SCSI_DISK: Final = "child<scsi-hd>"
_PASSED: Final = "vfio-"
_PENDING: Final = "already in the process of unplug"
"""QEMU's word for a device that somebody before us asked the guest for."""
_UNPLUG: Final = 20.0
"""Seconds for the guest's kernel to let go of a device."""

Command = tuple[str, dict[str, object]]


def device_id(name: str) -> str:
    """What the device is called in QEMU; a disk's `name` stays for its block node."""
    return name if name.startswith(_PASSED) else f"virtio-{name}"


async def plug(session: Session, device: BlockDevice | PassedDevice) -> Place:
    """See Hypervisor.plug."""
    if isinstance(device, PassedDevice):
        place = slots.free_slot(await session.execute("query-pci"))
        await session.execute(*add_passed(device, place))
        return Place(pci_path=place.path)
    return await _plug_block(session, device)


async def plug_share(session: Session, number: int, share: Share) -> None:
    """Show the guest one of the shares that the machine serves. Raises HypervisorError."""
    place = slots.free_slot(await session.execute("query-pci"))
    name = cmdline.share_name(number)
    device = {"driver": "virtio-9p-pci", "id": f"{name}-device", "fsdev": name}
    where = {"bus": place.bus, "addr": f"{place.number:#x}"}
    await session.execute("device_add", {**device, "mount_tag": share.tag, **where})


async def _plug_block(session: Session, device: BlockDevice) -> Place:
    slot: slots.Slot | slots.Lun
    if device.driver is BlockDeviceDriver.VIRTIO_SCSI:
        slot = slots.free_lun(await _used_luns(session))
        place = Place(scsi_address=str(slot))
    else:
        slot = slots.free_slot(await session.execute("query-pci"))
        place = Place(pci_path=slot.path)
    await session.execute(*add_node(device))
    try:
        await session.execute(*add_block(device.name, slot))
    except BaseException:
        with contextlib.suppress(HypervisorError):
            await session.execute(*remove_node(device.name))
        raise
    return place


async def unplug(session: Session, name: str) -> None:
    """See Hypervisor.unplug."""
    await remove(session, name)
    nodes = await session.execute("query-named-block-nodes", {"flat": True})
    if any(node.get("node-name") == name for node in nodes):
        await session.execute(*remove_node(name))


async def remove(session: Session, name: str) -> None:
    """Have the guest let go of the device and wait until it has. Idempotent."""
    if await _is_there(session, device_id(name)):
        await take_out(session, device_id(name))


def add_node(device: BlockDevice) -> Command:
    """Open a block device of the host."""
    file: dict[str, object] = {"driver": "host_device", "filename": str(device.path)}
    node: dict[str, object] = {"driver": "raw", "node-name": device.name}
    if device.read_only:
        file["read-only"] = node["read-only"] = True
    return "blockdev-add", {**node, "file": file}


def add_block(name: str, place: slots.Slot | slots.Lun) -> Command:
    """Give the machine the disk that was opened."""
    common: dict[str, object] = {"id": device_id(name), "drive": name}
    if isinstance(place, slots.Lun):
        bus = f"{cmdline.SCSI_CONTROLLER}.0"
        where = {"bus": bus, "scsi-id": place.target, "lun": place.lun}
        return "device_add", {"driver": "scsi-hd", **common, **where}
    where = {"bus": place.bus, "addr": f"{place.number:#x}"}
    return "device_add", {"driver": "virtio-blk-pci", **common, **where}


def add_passed(device: PassedDevice, slot: slots.Slot) -> Command:
    """Give the machine a device of the host as it is."""
    where = {"bus": slot.bus, "addr": f"{slot.number:#x}"}
    about = {"id": device_id(device.name), "host": device.address}
    return "device_add", {"driver": "vfio-pci", **about, **where}


def remove_node(name: str) -> Command:
    return "blockdev-del", {"node-name": name}


def is_gone(event: Mapping[str, Any], device: str) -> bool:
    """Whether the event tells that the guest has let go of the device."""
    about = event.get("data", {}).get("device")
    return event.get("event") == "DEVICE_DELETED" and about == device


def is_kept(event: Mapping[str, Any], device: str) -> bool:
    """Whether the event tells that the guest will not let go of it."""
    about = event.get("data", {}).get("device")
    return event.get("event") == "DEVICE_UNPLUG_GUEST_ERROR" and about == device


async def take_out(session: Session, device: str) -> None:
    """Unplug a device by QEMU's own id for it, and wait until the guest has let go of it.

    Raises:
        HypervisorError: the guest does not.
    """
    try:
        await session.execute("device_del", {"id": device})
    except HypervisorError as error:
        if not await _is_there(session, device):
            return  # the guest let go of it meanwhile
        if _PENDING not in str(error):
            raise
    try:
        async with asyncio.timeout(_UNPLUG):
            await _gone(session, device)
    except TimeoutError as error:
        if await _is_there(session, device):
            raise HypervisorError(
                f"the guest does not let go of the device {device!r} within {_UNPLUG:g} s; "
                "try again, or stop the pod"
            ) from error


async def _gone(session: Session, device: str) -> None:
    async for event in session.events():
        if is_gone(event, device):
            return
        if is_kept(event, device):
            raise HypervisorError(
                f"the guest does not let go of the device {device!r}; try again, or stop the pod"
            )
    raise HypervisorError("QEMU went away before the device was unplugged; look at the pod")


async def _is_there(session: Session, device: str) -> bool:
    return any(one["name"] == device for one in await _peripherals(session))


async def _used_luns(session: Session) -> list[slots.Lun]:
    used = []
    for one in await _peripherals(session):
        if one["type"] == _SCSI_DISK:
            path = f"{PERIPHERAL}/{one['name']}"
            target, lun = [
                await session.execute("qom-get", {"path": path, "property": key})
                for key in ("scsi-id", "lun")
            ]
            used.append(slots.Lun(target, lun))
    return used


async def _peripherals(session: Session) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await session.execute("qom-list", {"path": PERIPHERAL})
    return found
