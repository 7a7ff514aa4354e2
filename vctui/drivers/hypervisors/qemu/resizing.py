"""Processors and memory plugged into a running machine, processors out of it again (sheet §4.5).

What there is, QEMU tells; so a change that was cut off at any point is completed, or taken back,
by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vctui.drivers.hypervisors.base import Size
from vctui.drivers.hypervisors.qemu import cmdline, hotplug
from vctui.drivers.hypervisors.qemu.hotplug import Command
from vctui.errors import HypervisorError
from vctui.model.hypervisor import HypervisorConfig, Machine

if TYPE_CHECKING:
    from vctui.drivers.hypervisors.qemu.qmp import Session

_MIB: Final = 1024 * 1024
_CPU: Final = "cpu-"
_DIMM: Final = "dimm-"
_BACKEND: Final = "plugged-"
_RAM: Final = "memory-backend-ram"
_OWN: Final = f"{hotplug.PERIPHERAL}/{_CPU}"
"""Where the processors are that were plugged in by us."""

Cpus = Sequence[Mapping[str, Any]]
"""What `query-hotpluggable-cpus` returns."""


async def resize(
    session: Session,
    machine: Machine,
    config: HypervisorConfig,
    wanted: Size,
    *,
    huge_pages: Path | None = None,
) -> Size:
    """See Hypervisor.resize."""
    missing = wanted.memory - (await size(session, machine)).memory
    if missing > 0:
        blocks = -(-missing // Size.BLOCK)
        shared = await shares_memory(session)
        backend = _backend(config, blocks * Size.BLOCK, huge_pages, shared=shared)
        await _plug_memory(session, backend)
    cpus = await _cpus(session)
    for command in to_plug(cpus, wanted.vcpus):
        await session.execute(*command)
    for device in () if machine.keeps_vcpus else to_unplug(cpus, wanted.vcpus):
        await hotplug.take_out(session, device)
    return await size(session, machine)


async def size(session: Session, machine: Machine) -> Size:
    """See Hypervisor.size."""
    vcpus = sum("qom-path" in cpu for cpu in await _cpus(session))
    plugged = sum(int(one["size"]) for one in await _dimms(session)) // _MIB
    return Size(vcpus=vcpus, memory=machine.boot_memory + plugged)


def to_plug(cpus: Cpus, wanted: int) -> list[Command]:
    """Pure: the processors that are to be added, in the order of their places.

    Raises:
        HypervisorError: the machine has no place for so many.
    """
    ordered = sorted(cpus, key=_place)
    free = [(number, cpu) for number, cpu in enumerate(ordered) if "qom-path" not in cpu]
    missing = wanted - (len(ordered) - len(free))
    if missing > len(free):
        raise HypervisorError(
            f"the machine takes {len(ordered)} virtual CPUs at most, and not {wanted}; "
            "set a lower cpu_quota, or a larger vm_config.vcpus"
        )
    return [
        ("device_add", {"driver": cpu["type"], "id": f"{_CPU}{number}", **cpu["props"]})
        for number, cpu in free[: max(missing, 0)]
    ]


def to_unplug(cpus: Cpus, wanted: int) -> list[str]:
    """Pure: ids of the processors that are to be taken away, the newest first.

    Those that the machine booted with stay.
    """
    there = [cpu for cpu in sorted(cpus, key=_place) if "qom-path" in cpu]
    own = [cpu["qom-path"] for cpu in there if cpu["qom-path"].startswith(_OWN)]
    surplus = max(len(there) - wanted, 0)
    return [path.rpartition("/")[2] for path in reversed(own)][:surplus]


def _place(cpu: Mapping[str, Any]) -> tuple[int, ...]:
    keys = ("socket-id", "die-id", "core-id", "thread-id")
    return tuple(cpu["props"].get(key, 0) for key in keys)


def _backend(
    config: HypervisorConfig, size_mib: int, huge_pages: Path | None, *, shared: bool
) -> dict[str, object]:
    """Memory of the host of the same kind as the machine's first."""
    size = {"size": size_mib * _MIB}
    if config.huge_pages and huge_pages is not None:
        path = {"mem-path": str(huge_pages), "share": True, "prealloc": True}
        return {"qom-type": "memory-backend-file", **size, **path}
    kind = {"qom-type": "memory-backend-memfd", "share": True} if shared else {"qom-type": _RAM}
    return {**kind, **size, "prealloc": config.mem_prealloc}


async def shares_memory(session: Session) -> bool:
    """Whether programs of the host, which serve devices, map what the machine has so far; they are
    to map all of it (MachinePlan.shares_memory)."""
    backends = await session.execute("query-memdev")
    return any(one.get("id") == cmdline.MEMORY and one.get("share") for one in backends)


async def _plug_memory(session: Session, backend: dict[str, object]) -> None:
    name = await _free_name(session)
    await session.execute("object-add", {**backend, "id": f"{_BACKEND}{name}"})
    device = {"driver": "pc-dimm", "id": f"{_DIMM}{name}", "memdev": f"{_BACKEND}{name}"}
    try:
        await session.execute("device_add", device)
    except BaseException:
        with contextlib.suppress(HypervisorError):
            await asyncio.shield(session.execute("object-del", {"id": f"{_BACKEND}{name}"}))
        raise


async def _free_name(session: Session) -> str:
    """The lowest number that no memory has; takes away what was made for some and not used."""
    used = {one["id"] for one in await _dimms(session)}
    for each in await session.execute("qom-list", {"path": "/objects"}):
        number = each["name"].removeprefix(_BACKEND)
        if number != each["name"] and f"{_DIMM}{number}" not in used:
            await session.execute("object-del", {"id": each["name"]})
    return next(
        str(number) for number in range(cmdline.DIMMS + 1) if f"{_DIMM}{number}" not in used
    )


async def _dimms(session: Session) -> list[dict[str, Any]]:
    found = await session.execute("query-memory-devices")
    return [one["data"] for one in found if one["type"] == "dimm"]


async def _cpus(session: Session) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await session.execute("query-hotpluggable-cpus")
    return found
