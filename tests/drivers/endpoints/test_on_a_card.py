"""Endpoints that share a device of the host: macvlan, ipvlan, and a macvtap made for a machine.

Packets pass through them to the network that the device is plugged into, and afterwards
everything is as it was.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lan as lans
from tests.drivers.endpoints.wires import answer, echo, need_kind
from vctui.drivers.endpoints import scan
from vctui.drivers.endpoints.base import Wiring
from vctui.drivers.endpoints.direct import Direct
from vctui.drivers.endpoints.tc_filter import TcFilter
from vctui.drivers.hypervisors.qemu import nics
from vctui.errors import InvalidConfig
from vctui.linux import netns
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import NetworkConfig

pytestmark = pytest.mark.root
CARD = "card0"
DIRECT = NetInterworkingModel.ENLIGHTENED
TC = NetInterworkingModel.TC_FILTER


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[lans.Lan, Path]]:
    """A network, and a namespace whose CARD is plugged into it."""
    with lans.made(tmp_path) as lan:
        namespace = lan.namespace("host")
        lan.plug(namespace, CARD, addresses=())
        yield lan, namespace


@pytest.mark.parametrize(
    ("kind", "wiring", "model"),
    [("macvlan", TcFilter(), TC), ("ipvlan", TcFilter(), TC), ("macvtap", Direct(), DIRECT)],
    ids=["macvlan", "ipvlan", "macvtap"],
)
def test_packets_pass_a_shared_device(
    host: tuple[lans.Lan, Path], kind: str, wiring: Wiring, model: NetInterworkingModel
):
    lan, namespace = host
    need_kind(namespace, kind, CARD)
    pod = lan.namespace("pod")
    lans.share(namespace, CARD, pod, kind, address="10.77.0.2/24", mtu=1400)
    before = lans.picture(pod), lans.picture(namespace)
    view = netns.inside(pod, scan.look)
    (one,) = scan.endpoints(view, NetworkConfig(), processors=1, wire=wiring.plan)
    assert (one.type, one.model) == (EndpointType(kind), model)
    assert (one.interface.mtu, one.interface.addresses) == (1400, ("10.77.0.2/24",))
    netns.inside(pod, wiring.connect, one)
    with nics.opened(pod, [one], vhost=False) as opened:
        queues = opened[one.id].tap
        found = answer(queues, one.interface.mac, "10.77.0.1")
        assert socket.inet_aton("10.77.0.1") in found
        if one.has_macvtap:
            assert_is_private(one.tap, pod, queues)
    netns.inside(pod, wiring.disconnect, one)
    assert (lans.picture(pod), lans.picture(namespace)) == before


def test_an_ipvlan_that_routes_passes_packets_and_no_arp(host: tuple[lans.Lan, Path]):
    """Mode l3. Its network reaches it by a route to the card, which answers no ARP for it."""
    lan, namespace = host
    need_kind(namespace, "ipvlan", CARD)
    netns.inside(namespace, lans._configure, CARD, ("10.77.0.9/24",), (), 1500, "")
    lan.inside(lans._add_routes, ("10.78.0.0/24 10.77.0.9",))
    pod = lan.namespace("pod")
    lans.share(namespace, CARD, pod, "ipvlan", address="10.78.0.2/24", mode="l3")
    view = netns.inside(pod, scan.look)
    (one,) = scan.endpoints(view, NetworkConfig(), processors=1, wire=TcFilter().plan)
    assert not one.interface.arp
    netns.inside(pod, TcFilter().connect, one)
    with nics.opened(pod, [one], vhost=False) as opened:
        assert echo(opened[one.id].tap, one.interface.mac, "10.78.0.2", "10.77.0.1")
    netns.inside(pod, TcFilter().disconnect, one)


def test_an_ipvlan_that_hands_packets_to_nobody_is_refused(host: tuple[lans.Lan, Path]):
    lan, namespace = host
    need_kind(namespace, "ipvlan", CARD)
    pod = lan.namespace("pod")
    lans.share(namespace, CARD, pod, "ipvlan", address="10.78.0.2/24", mode="l3s")
    view = netns.inside(pod, scan.look)
    with pytest.raises(InvalidConfig, match=r"is an ipvlan of mode l3s, .*; make it with mode l2"):
        scan.endpoints(view, NetworkConfig(), processors=1, wire=TcFilter().plan)


def assert_is_private(name: str, pod: Path, queues: tuple[int, ...]) -> None:
    """The queues are the link's own device node, which only root can open."""
    (index,) = (each for each, link in netns.inside(pod, socket.if_nameindex) if link == name)
    node = Path(f"/dev/tap{index}").stat()
    assert stat.S_ISCHR(node.st_mode)
    assert (stat.S_IMODE(node.st_mode), node.st_uid) == (0o600, 0)
    assert {os.fstat(queue).st_rdev for queue in queues} == {node.st_rdev}
