"""A pod's network in the words of the Kata agent's protocol."""

from __future__ import annotations

from msgspec.structs import replace

from vctui.drivers.agents.kata import interfaces
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Endpoint, Interface, Neighbor, PodNetwork, Route
from vctui.wire.pb import types_pb2 as types

ENDPOINT = Endpoint(
    type=EndpointType.VETH,
    index=0,
    interface=Interface(
        name="eth0",
        mac="02:00:00:00:00:02",
        mtu=1400,
        addresses=("10.0.0.2/24", "fd00::2/64"),
    ),
    model=NetInterworkingModel.TC_FILTER,
    pci_path="02/01",
)
NETWORK = PodNetwork(
    namespace="/netns",
    created=True,
    endpoints=(ENDPOINT,),
    routes=(
        Route(device="eth0", gateway="10.0.0.1"),
        Route(device="eth0", dest="fd01::/64", gateway="fd00::1", family=6, mtu=1300, flags=4),
    ),
    neighbors=(Neighbor(device="eth0", address="fd00::9", mac="02:00:00:00:00:09"),),
)


def test_an_interface_is_as_the_namespace_had_it():
    told = interfaces.interface(ENDPOINT)
    assert (told.name, told.hwAddr, told.mtu) == ("eth0", "02:00:00:00:00:02", 1400)
    assert (told.devicePath, told.raw_flags) == ("02/01", 0)
    routed = replace(ENDPOINT, interface=replace(ENDPOINT.interface, arp=False))
    assert interfaces.interface(routed).raw_flags == 0x80
    assert [(each.family, each.address, each.mask) for each in told.IPAddresses] == [
        (types.v4, "10.0.0.2", "24"),
        (types.v6, "fd00::2", "64"),
    ]


def test_routes_keep_family_flags_and_mtu():
    first, second = interfaces.routes(NETWORK).Routes
    assert (first.dest, first.gateway, first.family) == ("", "10.0.0.1", types.v4)
    assert (second.dest, second.family, second.mtu, second.flags) == (
        "fd01::/64",
        types.v6,
        1300,
        4,
    )


def test_neighbors_are_permanent():
    (told,) = interfaces.neighbors(NETWORK).ARPNeighbors
    assert (told.toIPAddress.address, told.lladdr, told.state) == (
        "fd00::9",
        "02:00:00:00:00:09",
        0x80,
    )
