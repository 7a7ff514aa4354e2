"""The machine's end of a pod's network: descriptors of taps, and the network cards on them.

The taps are opened by us, in the pod's namespace, and inherited; so QEMU needs no right to open
any, and nobody else can.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from vctui.linux import netns, taps
from vctui.model.network import Endpoint, PhysicalDevice

RECONNECT: Final = 1
"""Seconds between tries to reach who serves a card, when he has gone away."""


class Queues(msgspec.Struct, frozen=True):
    """Descriptors of one card's queues."""

    tap: tuple[int, ...]
    vhost: tuple[int, ...] = ()
    """As many, where the host's kernel moves the packets; else none."""

    @property
    def all(self) -> tuple[int, ...]:
        return (*self.tap, *self.vhost)


@contextlib.contextmanager
def opened(
    namespace: Path | None, endpoints: Sequence[Endpoint], *, vhost: bool
) -> Iterator[dict[str, Queues]]:
    """The queues of the endpoints that have a tap, by the endpoint's id.

    Raises:
        OSError: one is missing, or in use.
    """
    with contextlib.ExitStack() as closing:
        found = {}
        for endpoint in endpoints:
            if namespace is None or not endpoint.tap:
                continue
            tap = netns.inside(namespace, _open, endpoint)
            closing.callback(taps.close, tap)
            fast = taps.open_vhost(len(tap)) if vhost else []
            closing.callback(taps.close, fast)
            found[endpoint.id] = Queues(tuple(tap), tuple(fast))
        yield found


def backend(endpoint: Endpoint, queues: Queues) -> str:
    """The value of `-netdev`."""
    several = "s" if len(queues.tap) > 1 else ""
    options = f"tap,id={endpoint.id},fd{several}={_joined(queues.tap)}"
    if queues.vhost:
        options += f",vhost=on,vhostfd{several}={_joined(queues.vhost)}"
    return options


def passed(endpoint: Endpoint, device: PhysicalDevice) -> str:
    """The value of `-device` for a network card of the host."""
    return f"vfio-pci,id=virtio-{endpoint.id},host={device.bdf}"


def served(endpoint: Endpoint) -> tuple[str, ...]:
    """Arguments for a backend that a program of the host serves on a socket."""
    path = endpoint.socket.replace(",", ",,")
    name = served_by(endpoint)
    return (
        "-chardev",
        f"socket,id={name},path={path},reconnect={RECONNECT}",
        "-netdev",
        f"vhost-user,id={endpoint.id},chardev={name}",
    )


def served_by(endpoint: Endpoint) -> str:
    """What the character device is called that leads to who serves the card."""
    return f"vhost-{endpoint.id}"


def card(endpoint: Endpoint, queues: int, *, pci: bool, emulated: bool) -> Mapping[str, str]:
    """Properties of the virtio-net device.

    It boots from no network; several queues need an interrupt each for both directions, and two
    for changes of configuration and control. QEMU's emulator ends with a segmentation fault when
    who serves a card raises an interrupt by message (7.2); there the card has the PCI line.
    """
    options = {"id": f"virtio-{endpoint.id}", "netdev": endpoint.id, "mac": endpoint.interface.mac}
    if queues > 1:
        options["mq"] = "on"
        if pci:
            options["vectors"] = str(2 * queues + 2)
    if endpoint.socket and pci and emulated:
        options["vectors"] = "0"
    return options | ({"romfile": ""} if pci else {})


def _joined(descriptors: tuple[int, ...]) -> str:
    return ":".join(map(str, descriptors))


def _open(endpoint: Endpoint) -> list[int]:
    if not endpoint.has_macvtap:
        return taps.open_tap(endpoint.tap, endpoint.queues)
    for index, name in socket.if_nameindex():
        if name == endpoint.tap:
            return taps.open_macvtap(index, endpoint.queues)
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), endpoint.tap)
