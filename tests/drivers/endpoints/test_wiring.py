"""Promises of every interworking model, on the kernel's own devices: packets pass both ways, and
afterwards the namespace is as it was."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pyroute2 import IPRoute

from tests import lan as lans
from tests.drivers.endpoints.wires import MODELS, PATIENCE, answer, endpoint, need_kind
from vctui.drivers.endpoints import scan
from vctui.drivers.endpoints.base import free_name, substitute_mac
from vctui.drivers.endpoints.bridged import Bridged
from vctui.drivers.endpoints.direct import Direct
from vctui.drivers.endpoints.macvtap import Macvtap
from vctui.drivers.endpoints.tc_filter import TcFilter
from vctui.drivers.hypervisors.qemu import nics
from vctui.errors import HostProblem, InvalidConfig, NetworkError
from vctui.linux import links, netns, taps
from vctui.linux.links import Link
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Interface, NetworkConfig

root = pytest.mark.root
MAC = "02:00:00:00:77:02"
FAILED = 0x20
"""State of a neighbour that does not answer."""


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[lans.Lan]:
    with lans.made(tmp_path) as made:
        yield made


@pytest.fixture
def pod(lan: lans.Lan) -> Path:
    namespace = lan.namespace("pod")
    lan.plug(
        namespace,
        addresses=("10.77.0.2/24", "fd77::2/64"),
        gateways=("10.77.0.1", "fd77::1"),
        mtu=1400,
        mac=MAC,
    )
    return namespace


@root
@pytest.mark.parametrize("queues", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_packets_pass_and_then_everything_is_as_it_was(
    lan: lans.Lan, pod: Path, model: NetInterworkingModel, queues: int
):
    if model is NetInterworkingModel.MACVTAP:
        need_kind(pod, "macvtap")
    before = lans.picture(pod)
    one = endpoint(pod, model, queues)
    routes = scan.routes(netns.inside(pod, scan.look), [one])
    assert one.interface == Interface(
        name="eth0", mac=MAC, mtu=1400, addresses=("10.77.0.2/24", "fd77::2/64")
    )
    netns.inside(pod, MODELS[model].connect, one)
    try:
        with nics.opened(pod, [one], vhost=False) as opened:
            queue = opened[one.id]
            assert len(queue.tap) == queues
            assert not any(os.get_inheritable(each) for each in queue.all)
            assert socket.inet_aton("10.77.0.1") in answer(queue.tap, MAC, "10.77.0.1")
    finally:
        netns.inside(pod, MODELS[model].disconnect, one)
    netns.inside(pod, scan.restore, routes)
    assert lans.picture(pod) == before
    netns.inside(pod, MODELS[model].disconnect, one)
    assert lans.picture(pod) == before


@root
@pytest.mark.parametrize("model", MODELS)
def test_the_namespace_itself_does_not_answer_in_the_guests_place(
    lan: lans.Lan, pod: Path, model: NetInterworkingModel
):
    """Nobody reads the tap: whoever answered would be the namespace."""
    if model is NetInterworkingModel.MACVTAP:
        need_kind(pod, "macvtap")
    one = endpoint(pod, model)
    netns.inside(pod, MODELS[model].connect, one)

    def answered() -> list[str]:
        for family, address in ((socket.AF_INET, "10.77.0.2"), (socket.AF_INET6, "fd77::2")):
            with socket.socket(family, socket.SOCK_DGRAM) as udp:
                udp.connect((address, 9))
                udp.send(b"x")
        asked = {"10.77.0.2", "fd77::2"}
        deadline = time.monotonic() + PATIENCE
        with IPRoute() as ip:
            while time.monotonic() < deadline:
                known = [
                    each
                    for family in (socket.AF_INET, socket.AF_INET6)
                    for each in ip.get_neighbours(family=family)
                    if each.get_attr("NDA_DST") in asked
                ]
                if known and all(each["state"] & FAILED for each in known):
                    return []
        return [each.get_attr("NDA_LLADDR") for each in known]

    with nics.opened(pod, [one], vhost=False):
        assert lan.inside(answered) == []
    netns.inside(pod, MODELS[model].disconnect, one)


@root
@pytest.mark.parametrize("model", MODELS)
def test_half_made_wiring_is_taken_away(pod: Path, model: NetInterworkingModel):
    before = lans.picture(pod)
    one = endpoint(pod, model)
    netns.inside(pod, taps.create, one.tap, multi_queue=False)
    netns.inside(pod, MODELS[model].disconnect, one)
    assert lans.picture(pod) == before


@root
def test_an_interface_that_is_gone_is_no_error(lan: lans.Lan, pod: Path):
    one = endpoint(pod, NetInterworkingModel.BRIDGED)
    netns.inside(pod, MODELS[one.model].connect, one)

    def unplug() -> None:
        with IPRoute() as ip:
            ip.link("del", ifname="eth0")

    netns.inside(pod, unplug)
    netns.inside(pod, MODELS[one.model].disconnect, one)
    assert netns.inside(pod, lans.link_names) == ["lo"]


@root
def test_a_tap_that_the_network_made_is_used_as_it_is(lan: lans.Lan):
    namespace = lan.namespace("pod")
    netns.inside(namespace, taps.create, "eth0", multi_queue=False)
    netns.inside(namespace, lans._configure, "eth0", ("10.77.0.2/24",), (), 1500, MAC)
    before = lans.picture(namespace)
    view = netns.inside(namespace, scan.look)
    (one,) = scan.endpoints(view, NetworkConfig(), processors=4, wire=Direct().plan)
    assert (one.type, one.tap, one.model) == (
        EndpointType.TAP,
        "eth0",
        NetInterworkingModel.ENLIGHTENED,
    )
    netns.inside(namespace, Direct().connect, one)
    with nics.opened(namespace, [one], vhost=False) as opened:
        assert len(opened[one.id].tap) == 1  # it has one queue only
    netns.inside(namespace, Direct().disconnect, one)
    assert lans.picture(namespace) == before


@root
def test_a_tap_that_is_missing_is_an_error_and_not_made(pod: Path):
    one = replace(endpoint(pod, NetInterworkingModel.TC_FILTER), tap="tap9")
    with pytest.raises(OSError, match="No such device"), nics.opened(pod, [one], vhost=False):
        pass
    assert "tap9" not in netns.inside(pod, lans.link_names)


@root
def test_a_macvtap_without_a_device_node_is_refused(pod: Path, tmp_path: Path):
    need_kind(pod, "macvtap")
    wiring = Macvtap(folder=tmp_path / "dev")
    one = endpoint(pod, NetInterworkingModel.MACVTAP)
    with pytest.raises(HostProblem, match="has no device node"):
        netns.inside(pod, wiring.connect, one)
    netns.inside(pod, wiring.disconnect, one)


def without_macvtap() -> Any:
    """A conversation with a kernel that has none: it is asked for a kind that no kernel has."""
    ip: Any = IPRoute()
    real = ip.link

    def link(command: str, **values: Any) -> Any:
        if values.get("kind") == "macvtap":
            values = {"ifname": values["ifname"], "link": values["link"], "kind": "no-such-kind"}
        return real(command, **values)

    ip.link = link
    return ip


@root
def test_a_kernel_without_macvtap_is_named(pod: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(links, "IPRoute", without_macvtap)
    before = lans.picture(pod)
    one = endpoint(pod, NetInterworkingModel.MACVTAP)
    said = r"kernel has no macvtap; .* modprobe, or choose another network_config\.interworking"
    with pytest.raises(HostProblem, match=said):
        netns.inside(pod, MODELS[one.model].connect, one)
    netns.inside(pod, MODELS[one.model].disconnect, one)
    assert lans.picture(pod) == before


def link(name: str, kind: str = "veth", **values: object) -> Link:
    defaults: dict[str, object] = {
        "index": 2,
        "mac": MAC,
        "mtu": 1500,
        "master": 0,
        "loopback": False,
        "queue_length": 1000,
        "is_tap": False,
        "addresses": ("10.0.0.2/24",),
    }
    return Link(name=name, kind=kind, **(defaults | values))  # type: ignore[arg-type]


def view(*present: Link) -> scan.View:
    return scan.View(present, (), ())


def found(*present: Link, **config: object) -> list[str]:
    wanted = NetworkConfig(**config)  # type: ignore[arg-type]
    ends = scan.endpoints(view(*present), wanted, processors=1, wire=TcFilter().plan)
    return [one.interface.name for one in ends]


def test_loopback_and_interfaces_without_an_address_are_left_out():
    lo = link("lo", "", loopback=True, addresses=("127.0.0.1/8",))
    assert found(lo, link("eth0", addresses=()), link("eth1")) == ["eth1"]


def test_num_interfaces_takes_the_first_ones():
    assert found(link("eth0"), link("eth1"), num_interfaces=1) == ["eth0"]


def test_fewer_than_num_interfaces_are_an_error():
    with pytest.raises(NetworkError, match=r"fewer interfaces with an address \(eth0\)"):
        found(link("eth0"), num_interfaces=2)


@pytest.mark.parametrize(("kind", "is_tap"), [("bridge", False), ("", False), ("tun", False)])
def test_what_cannot_be_given_to_a_machine_is_refused(kind: str, is_tap: bool):
    with pytest.raises(InvalidConfig, match="cannot be given to a machine"):
        found(link("eth0", kind, is_tap=is_tap))


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_what_shares_the_mac_of_another_device_takes_no_bridge_or_macvtap(kind: str):
    for wiring in (Bridged(), Macvtap()):
        with pytest.raises(InvalidConfig, match="interworking_model to tc-filter"):
            scan.endpoints(
                view(link("eth0", kind)), NetworkConfig(), processors=1, wire=wiring.plan
            )
    assert found(link("eth0", kind)) == ["eth0"]


def test_an_enlightened_network_must_have_made_a_tap():
    with pytest.raises(InvalidConfig, match="no tap or macvtap"):
        scan.endpoints(view(link("eth0")), NetworkConfig(), processors=1, wire=Direct().plan)


def test_names_that_are_taken_are_not_used():
    assert free_name("tap", 0, ()) == "tap0"
    assert free_name("tap", 0, ("tap0",)) == "tap1000"


def test_the_substitute_is_a_mac_of_its_own():
    assert substitute_mac(3) == "02:00:ca:fe:00:03"
    assert substitute_mac(258) == "02:00:ca:fe:01:02"


def test_what_is_known_is_not_found_again():
    (first,) = scan.endpoints(
        view(link("eth0")), NetworkConfig(), processors=1, wire=TcFilter().plan
    )
    made = link("tap0", "tun", is_tap=True, addresses=("10.9.9.9/24",))
    (second,) = scan.endpoints(
        view(link("eth0"), made, link("eth1")),
        NetworkConfig(),
        processors=1,
        known=[first],
        wire=TcFilter().plan,
    )
    assert (second.interface.name, second.index, second.id) == ("eth1", 1, "net1")
