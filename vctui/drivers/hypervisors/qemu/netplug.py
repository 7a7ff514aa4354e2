"""Network cards plugged into a running machine and out of it, over its control socket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from vctui.drivers.hypervisors.base import PassedDevice, Place
from vctui.drivers.hypervisors.qemu import hotplug, nics, resizing, slots
from vctui.errors import HypervisorError
from vctui.model.network import Endpoint

if TYPE_CHECKING:
    from vctui.drivers.hypervisors.qemu.qmp import Session

_UNKNOWN: Final = "not found"
"""QEMU's word for a backend that is gone already."""


async def plug(
    session: Session, endpoint: Endpoint, queues: nics.Queues | None, *, emulated: bool
) -> Place:
    """See Hypervisor.plug_network.

    Args:
        queues: of the endpoint's tap, where it has one.
    """
    slot = slots.free_slot(await session.execute("query-pci"))
    if endpoint.physical is not None:
        device = PassedDevice(name=endpoint.id, address=endpoint.physical.bdf)
        await session.execute(*hotplug.add_passed(device, slot))
        return Place(pci_path=slot.path)
    if queues is None:
        await _add_served(session, endpoint)
    else:
        await _add_tap(session, endpoint, queues)
    try:
        pairs = len(queues.tap) if queues else 1
        properties = _properties(nics.card(endpoint, pairs, pci=True, emulated=emulated))
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
    if endpoint.physical is None:
        await _remove_backend(session, endpoint)


async def _add_tap(session: Session, endpoint: Endpoint, queues: nics.Queues) -> None:
    """QEMU gets copies of the descriptors, under names."""
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


async def _add_served(session: Session, endpoint: Endpoint) -> None:
    """A backend that a program of the host serves on a socket."""
    if not await resizing.shares_memory(session):
        raise HypervisorError(
            f"interface {endpoint.interface.name!r} is served by vhost-user on {endpoint.socket}, "
            "and the machine was started with memory that no other program can map; stop the pod "
            "and start it again"
        )
    name = nics.served_by(endpoint)
    place = {"type": "unix", "data": {"path": endpoint.socket}}
    how = {"addr": place, "server": False, "reconnect": nics.RECONNECT}
    await session.execute("chardev-add", {"id": name, "backend": {"type": "socket", "data": how}})
    try:
        about = {"type": "vhost-user", "id": endpoint.id, "chardev": name}
        await session.execute("netdev_add", about)
    except BaseException:
        with contextlib.suppress(HypervisorError):
            await _remove_backend(session, endpoint)
        raise


async def _remove_backend(session: Session, endpoint: Endpoint) -> None:
    await _forget(session, "netdev_del", endpoint.id)
    if endpoint.socket:
        await _forget(session, "chardev-remove", nics.served_by(endpoint))


async def _forget(session: Session, command: str, name: str) -> None:
    try:
        await session.execute(command, {"id": name})
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
