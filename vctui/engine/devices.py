"""Devices of containers: resolved on the host, plugged into the machine, unplugged after.

What is plugged in stands in the container's record before the machine gets it, so that whoever
comes after a crash knows what to take away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from vctui.drivers.agents.base import GuestDevice, GuestDisk
from vctui.drivers.devices import host, vfio
from vctui.drivers.hypervisors.base import BlockDevice, PassedDevice
from vctui.drivers.storage import rootdisk
from vctui.engine.context import Context
from vctui.errors import WrongState
from vctui.model.container import ContainerConfig
from vctui.model.device import DeviceInfo
from vctui.model.kinds import DeviceType, HypervisorType
from vctui.model.pod import PodRecord
from vctui.model.state import State

ROOT: Final = "/"
"""`container_path` of the device that has a container's root file system."""


def check(config: ContainerConfig) -> None:
    """Raises FileProblem, HostProblem where a device cannot be given to a container."""
    for info in config.device_infos:
        if vfio.is_group(info):
            vfio.functions(info)
        else:
            host.check(host.resolve(info))


class Attached(msgspec.Struct, frozen=True):
    """What a container finds in the guest of what was plugged in for it."""

    devices: tuple[GuestDevice, ...] = ()
    """All of its devices, as the guest is to make them."""
    root: GuestDisk | None = None
    """The disk with its root file system, where that is on one."""


async def attach(ctx: Context, record: PodRecord, config: ContainerConfig) -> Attached:
    """Plug in the block devices, that of the root file system first.

    What was plugged in stays so when a later one fails; `detach` takes it away.

    Raises:
        FileProblem, HostProblem, HypervisorError
    """
    if record.config.hypervisor_type is HypervisorType.MOCK:
        return Attached()
    root = await _plug_root(ctx, record, config)
    devices = []
    for wanted in config.device_infos:
        if vfio.is_group(wanted):
            devices += await _pass_through(ctx, record, config.id, wanted)
            continue
        info = host.resolve(wanted)
        host.check(info)
        if info.dev_type is DeviceType.BLOCK:
            devices.append(await _plug(ctx, record.id, config.id, info))
        else:
            devices.append(GuestDevice(info=info))
    return Attached(devices=tuple(devices), root=root)


async def detach(ctx: Context, pod_id: str, container_id: str) -> None:
    """Unplug what was plugged in for the container. Idempotent.

    Raises:
        WrongState: the machine stands still.
        HypervisorError: the guest does not let go of one.
    """
    for info in ctx.store.pod(pod_id).containers:
        if info.id == container_id:
            for device in info.devices:
                await _unplug(ctx, pod_id, container_id, device)


async def _plug_root(ctx: Context, record: PodRecord, config: ContainerConfig) -> GuestDisk | None:
    disk = rootdisk.find(config, record.config.hypervisor_config)
    if disk is None:
        return None
    info = DeviceInfo(container_path=ROOT, host_path=str(disk.device), dev_type=DeviceType.BLOCK)
    info = host.resolve(info)
    host.check(info)
    plugged = await _plug(ctx, record.id, config.id, info, read_only=disk.read_only)
    if plugged.place is None:
        return None
    return GuestDisk(
        place=plugged.place,
        filesystem=disk.filesystem,
        folder=disk.folder,
        read_only=disk.read_only,
    )


async def _plug(
    ctx: Context, pod_id: str, container_id: str, info: DeviceInfo, *, read_only: bool = False
) -> GuestDevice:
    record = ctx.store.pod(pod_id)
    device = BlockDevice(
        name=f"drive-{os.urandom(8).hex()}",
        path=Path(info.host_path),
        driver=record.config.hypervisor_config.block_device_driver,
        read_only=read_only,
    )
    return await _give(ctx, record, container_id, info, device)


async def _pass_through(
    ctx: Context, record: PodRecord, container_id: str, info: DeviceInfo
) -> list[GuestDevice]:
    """Everything of an IOMMU group."""
    given = []
    for address in vfio.functions(info):
        device = PassedDevice(name=f"vfio-{os.urandom(8).hex()}", address=address)
        one = await _give(ctx, record, container_id, info, device)
        given.append(msgspec.structs.replace(one, passed=address))
    return given


async def _give(
    ctx: Context,
    record: PodRecord,
    container_id: str,
    info: DeviceInfo,
    device: BlockDevice | PassedDevice,
) -> GuestDevice:
    """Remember, plug in, and remember that it is in."""
    pod_id = record.id
    info = msgspec.structs.replace(info, id=device.name)
    _remember(ctx, pod_id, container_id, info)
    place = None
    machine = ctx.store.pod(pod_id).machine
    if machine is not None:
        place = await ctx.hypervisor(record).plug(ctx.paths(pod_id).run, machine, device)
    info = msgspec.structs.replace(info, hotplugged=True)
    _remember(ctx, pod_id, container_id, info)
    return GuestDevice(info=info, place=place)


async def _unplug(ctx: Context, pod_id: str, container_id: str, info: DeviceInfo) -> None:
    record = ctx.store.pod(pod_id)
    hypervisor = ctx.hypervisor(record)
    if record.machine is not None and hypervisor.alive(record.machine):
        if record.state is State.PAUSED:
            raise WrongState(
                f"pod {pod_id!r} is paused, and its guest cannot let go of the device "
                f"{info.container_path} of container {container_id!r}; resume it first"
            )
        await hypervisor.unplug(ctx.paths(pod_id).run, record.machine, info.id)
    _remember(ctx, pod_id, container_id, info, gone=True)


def _remember(
    ctx: Context, pod_id: str, container_id: str, info: DeviceInfo, *, gone: bool = False
) -> None:
    with ctx.store.transaction() as tx:
        current = tx.container(pod_id, container_id)
        others = tuple(one for one in current.devices if one.id != info.id)
        devices = others if gone else (*others, info)
        tx.save_container(pod_id, msgspec.structs.replace(current, devices=devices))
