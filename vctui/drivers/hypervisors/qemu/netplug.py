"""Network cards plugged into a running machine and out of it, over its control socket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from vctui.drivers.hypervisors.base import Place
from vctui.drivers.hypervisors.qemu import hotplug, nics, slots
from vctui.errors import HypervisorError
from vctui.model.network import Endpoint

if TYPE_CHECKING:
    from vctui.drivers.hypervisors.qemu.qmp import Session

_UNKNOWN: Final = "not found"
"""QEMU's word for a backend that is gone already."""


async def plug(session: Session, endpoint: Endpoint, queues: nics.Queues) -> Place:
    """See Hypervisor.plug_network. QEMU gets copies of the descriptors, under names."""
    slot = slots.free_slot(await session.execute("query-pci"))
    names = {fd: f"{endpoint.id}-{number}" for number, fd in enumerate(queues.all)}
    given: list[str] = []
    try:
        for descriptor, name in names.items():
            await session.give_file(name, descriptor)
            given.append(name)
        await session.execute("netdev_add", _netdev(endpoint, queues, names))
    except BaseException:
        for name in given:
            with contextlib.suppress(HypervisorError):
                await session.execute("closefd", {"fdname": name})
        raise
    try:
        properties = _properties(nics.card(endpoint, len(queues.tap), pci=True))
        where = {"bus": slot.bus, "addr": f"{slot.number:#x}"}
        await session.execute("device_add", {"driver": "virtio-net-pci", **properties, **where})
    except BaseException:
        with contextlib.suppress(HypervisorError):
            await _remove_backend(session, endpoint)
        raise
    return Place(pci_path=slot.path)


async def unplug(session: Session, endpoint: Endpoint) -> None:
    """See Hypervisor.unplug_network."""
    await hotplug.remove(session, endpoint.id)
    await _remove_backend(session, endpoint)


async def _remove_backend(session: Session, endpoint: Endpoint) -> None:
    try:
        await session.execute("netdev_del", {"id": endpoint.id})
    except HypervisorError as error:
        if _UNKNOWN not in str(error):
            raise


def _netdev(endpoint: Endpoint, queues: nics.Queues, names: Mapping[int, str]) -> dict[str, object]:
    several = "s" if len(queues.tap) > 1 else ""
    found: dict[str, object] = {"type": "tap", "id": endpoint.id}
    found[f"fd{several}"] = ":".join(names[each] for each in queues.tap)
    if queues.vhost:
        found |= {
            "vhost": True,
            f"vhostfd{several}": ":".join(names[each] for each in queues.vhost),
        }
    return found


def _properties(of: Mapping[str, str]) -> dict[str, object]:
    """As QMP wants them."""
    kinds: dict[str, Callable[[str], object]] = {"mq": lambda word: word == "on", "vectors": int}
    return {key: kinds.get(key, str)(value) for key, value in of.items()}
