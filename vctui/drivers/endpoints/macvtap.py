"""macvtap: the machine has a macvtap device on top of the interface.

The interface hears what the macvtap hears; it loses its addresses meanwhile, as the namespace would
otherwise answer for them.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import msgspec

from vctui.drivers.endpoints.base import Wiring, free_name, substitute_mac
from vctui.errors import HostProblem, InvalidConfig
from vctui.linux.links import Link, Links
from vctui.model.kinds import EndpointType
from vctui.model.network import Endpoint

_TRIES: Final = 128
_INDEXES: Final = range(8192, 65536)
_QUEUE_LENGTH: Final = 1500


class Macvtap(Wiring):
    """`folder` has the device nodes."""

    def __init__(self, folder: Path = Path("/dev")) -> None:
        self._folder = folder

    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        if endpoint.type is not EndpointType.VETH:
            raise InvalidConfig(
                f"interface {endpoint.interface.name!r} is a {endpoint.type}, on which there can "
                "be no macvtap; set network_config.interworking_model to tc-filter"
            )
        return msgspec.structs.replace(
            endpoint,
            tap=free_name("tap", endpoint.index, taken),
            substitute_mac=substitute_mac(endpoint.index),
        )

    def connect(self, endpoint: Endpoint) -> None:
        with Links() as net:
            interface = net.get(endpoint.interface.name)
            tap = self._add(net, endpoint, interface)
            net.silence(tap)
            net.set(interface, address=endpoint.substitute_mac)
            for address in interface.addresses:
                net.delete_address(interface, address)
            net.set(interface, state="up")
            length = interface.queue_length or _QUEUE_LENGTH
            net.set(tap, address=endpoint.interface.mac, mtu=interface.mtu, txqlen=length)
            net.set(tap, state="up")

    def disconnect(self, endpoint: Endpoint) -> None:
        with Links() as net:
            net.delete(endpoint.tap)
            if (interface := net.find(endpoint.interface.name)) is not None:
                net.set(interface, address=endpoint.interface.mac)
                for address in endpoint.interface.addresses:
                    if address not in interface.addresses:
                        net.add_address(interface, address)

    def _add(self, net: Links, endpoint: Endpoint, lower: Link) -> Link:
        """The node of a macvtap is called by its index alone, which another namespace may have
        given too; an index is taken whose node is not there yet.

        Raises:
            HostProblem: the kernel has no macvtap, or nobody makes its node.
        """
        last: OSError | None = None
        for index in _indexes(secrets.choice):
            node = self._folder / f"tap{index}"
            if node.exists():
                continue
            try:
                tap = net.add_macvtap(endpoint.tap, lower, index=index)
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.EBUSY}:
                    raise
                last = error
                continue
            if not node.exists():
                raise HostProblem(
                    f"the macvtap of interface {lower.name!r} has no device node {node}; mount "
                    "devtmpfs on /dev, or choose another network_config.interworking_model"
                )
            return tap
        raise last or OSError(errno.EBUSY, os.strerror(errno.EBUSY), endpoint.tap)


def _indexes(choose: Callable[[range], int]) -> list[int]:
    return [choose(_INDEXES) for _ in range(_TRIES)]
