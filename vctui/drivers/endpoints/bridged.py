"""bridged: a bridge in the namespace joins the interface and a tap.

A bridge takes what is sent to the MAC of one of its ports for itself; so the interface gets another
MAC while the guest has its own.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from vctui.drivers.endpoints.base import Wiring, free_name, substitute_mac
from vctui.errors import InvalidConfig
from vctui.linux import taps
from vctui.linux.links import Links
from vctui.model.kinds import EndpointType
from vctui.model.network import Endpoint


class Bridged(Wiring):
    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        if endpoint.type is not EndpointType.VETH:
            raise InvalidConfig(
                f"interface {endpoint.interface.name!r} is a {endpoint.type}, which cannot be "
                "bridged; set network_config.interworking_model to tc-filter"
            )
        return msgspec.structs.replace(
            endpoint,
            tap=free_name("tap", endpoint.index, taken),
            bridge=free_name("br", endpoint.index, taken),
            substitute_mac=substitute_mac(endpoint.index),
        )

    def connect(self, endpoint: Endpoint) -> None:
        taps.create(endpoint.tap, multi_queue=endpoint.queues > 1)
        with Links() as net:
            interface, tap = net.get(endpoint.interface.name), net.get(endpoint.tap)
            bridge = net.add_bridge(endpoint.bridge)
            for made in (bridge, tap):
                net.silence(made)
            net.set(interface, address=endpoint.substitute_mac)
            net.set(tap, mtu=interface.mtu, master=bridge.index, state="up")
            net.set(interface, master=bridge.index, state="up")
            net.set(bridge, state="up")

    def disconnect(self, endpoint: Endpoint) -> None:
        with Links() as net:
            net.delete(endpoint.bridge)
            net.delete(endpoint.tap)
            if (interface := net.find(endpoint.interface.name)) is not None:
                net.set(interface, address=endpoint.interface.mac)
