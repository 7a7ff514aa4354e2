"""tc-filter: traffic control redirects each packet between the interface and a tap.

The interface keeps its MAC and addresses, which the guest has too: the namespace itself never sees
a packet. It works for every kind of interface, also those that share a MAC (ipvlan).
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from vctui.drivers.endpoints.base import Wiring, free_name
from vctui.linux import taps
from vctui.linux.links import Links
from vctui.model.network import Endpoint


class TcFilter(Wiring):
    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        return msgspec.structs.replace(endpoint, tap=free_name("tap", endpoint.index, taken))

    def connect(self, endpoint: Endpoint) -> None:
        taps.create(endpoint.tap, multi_queue=endpoint.queues > 1)
        with Links() as net:
            interface, tap = net.get(endpoint.interface.name), net.get(endpoint.tap)
            net.silence(tap)
            net.set(tap, mtu=interface.mtu, state="up")
            net.set(interface, state="up")
            net.redirect(interface, tap)
            net.redirect(tap, interface)

    def disconnect(self, endpoint: Endpoint) -> None:
        with Links() as net:
            net.stop_redirecting(endpoint.interface.name)
            net.delete(endpoint.tap)
