"""Endpoints that share a device of the host: macvlan, ipvlan, and a macvtap made for a machine.

Packets pass through them to the network that the device is plugged into, and afterwards
everything is as it was.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import lan as lans
from tests.drivers.endpoints.wires import answer, need_kind
from vctui.drivers.endpoints import scan
from vctui.drivers.endpoints.base import Wiring
from vctui.drivers.endpoints.direct import Direct
from vctui.drivers.endpoints.tc_filter import TcFilter
from vctui.drivers.hypervisors.qemu import nics
from vctui.errors import InvalidConfig
from vctui.linux import netns, taps
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Interface, NetworkConfig

pytestmark = pytest.mark.root
CARD = "card0"
PATIENCE = 30.0
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
    lans.share(namespace, CARD, pod, kind, addresses=("10.77.0.2/24",), mtu=1400)
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


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_connections_pass_an_ipvlan_both_ways(host: tuple[lans.Lan, Path], mode: str):
    """To and from a network stack as a guest has it, of both families. In mode l3 it asks nobody by
    ARP, and the network reaches it by a route to the card."""
    lan, namespace = host
    need_kind(namespace, "ipvlan", CARD)
    v4, v6 = ("10.77.0.2", "fd77::2") if mode == "l2" else ("10.78.0.2", "fd78::2")
    routes = ("10.77.0.0/24", "fd77::/64") if mode == "l3" else ()
    if mode == "l3":
        netns.inside(namespace, lans._configure, CARD, ("10.77.0.9/24", "fd77::9/64"), (), 1500, "")
        lan.inside(lans._add_routes, ("10.78.0.0/24 10.77.0.9", "fd78::/64 fd77::9"))
    pod, guest = lan.namespace("pod"), lan.namespace("guest")
    addresses = (f"{v4}/24", f"{v6}/64")
    lans.share(namespace, CARD, pod, "ipvlan", addresses=addresses, mtu=1400, mode=mode)
    before = lans.picture(pod), lans.picture(namespace)
    view = netns.inside(pod, scan.look)
    (one,) = scan.endpoints(view, NetworkConfig(), processors=1, wire=TcFilter().plan)
    assert one.interface.arp == (mode == "l2")
    assert set(one.interface.addresses) == set(addresses)
    netns.inside(pod, TcFilter().connect, one)
    with nics.opened(pod, [one], vhost=False) as opened:
        (queue,) = opened[one.id].tap
        with stack(guest, queue, one.interface, routes):
            for server, client, address in (
                (guest, lan.path, v4),
                (guest, lan.path, v6),
                (lan.path, guest, "10.77.0.1"),
                (lan.path, guest, "fd77::1"),
            ):
                assert shout(server, client, address, b"x" * 300_000) == b"X" * 300_000
    netns.inside(pod, TcFilter().disconnect, one)
    assert (lans.picture(pod), lans.picture(namespace)) == before


def test_an_ipvlan_that_hands_packets_to_nobody_is_refused(host: tuple[lans.Lan, Path]):
    lan, namespace = host
    need_kind(namespace, "ipvlan", CARD)
    pod = lan.namespace("pod")
    lans.share(namespace, CARD, pod, "ipvlan", addresses=("10.78.0.2/24",), mode="l3s")
    view = netns.inside(pod, scan.look)
    with pytest.raises(InvalidConfig, match=r"is an ipvlan of mode l3s, .*; make it with mode l2"):
        scan.endpoints(view, NetworkConfig(), processors=1, wire=TcFilter().plan)


@contextmanager
def stack(
    namespace: Path, queue: int, interface: Interface, routes: tuple[str, ...]
) -> Iterator[None]:
    """Give the namespace an eth0 with all that the guest's interface is to have; its packets go
    through a tap's queue, where the machine's would."""
    netns.inside(namespace, taps.create, "eth0", multi_queue=False)
    (own,) = netns.inside(namespace, taps.open_tap, "eth0", 1)
    stop, stopped = os.pipe()

    def configure() -> None:
        lans._configure("eth0", interface.addresses, (), interface.mtu, interface.mac)
        lans.lead("eth0", routes, arp=interface.arp)

    def carry() -> None:
        other = {own: queue, queue: own}
        while True:
            ready = select.select([stop, own, queue], [], [])[0]
            if stop in ready:
                return
            for each in ready:
                os.write(other[each], os.read(each, 65536))

    carrying = threading.Thread(target=carry)
    try:
        netns.inside(namespace, configure)
        carrying.start()
        yield
    finally:
        os.close(stopped)
        if carrying.is_alive():
            carrying.join()
        os.close(stop)
        taps.close([own])


def shout(server: Path, client: Path, address: str, text: bytes) -> bytes:
    """What a server in one namespace answers to a client in another."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.inside(server, socket.create_server, (address, 0), family=family) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with accepted:
                said = read(accepted)
                accepted.sendall(said.upper())

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        place = listening.getsockname()[:2]
        with netns.inside(client, socket.create_connection, place, timeout=PATIENCE) as asking:
            asking.sendall(text)
            asking.shutdown(socket.SHUT_WR)
            answer = read(asking)
        serving.join()
    return answer


def read(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def assert_is_private(name: str, pod: Path, queues: tuple[int, ...]) -> None:
    """The queues are the link's own device node, which only root can open."""
    (index,) = (each for each, link in netns.inside(pod, socket.if_nameindex) if link == name)
    node = Path(f"/dev/tap{index}").stat()
    assert stat.S_ISCHR(node.st_mode)
    assert (stat.S_IMODE(node.st_mode), node.st_uid) == (0o600, 0)
    assert {os.fstat(queue).st_rdev for queue in queues} == {node.st_rdev}
