"""A pod's network → hyperstart's JSON: what each kind of agent can be told."""

from __future__ import annotations

import msgspec
import pytest

from vctui.drivers.agents.hyperstart import network as networks
from vctui.drivers.agents.hyperstart import requests
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Dns, Endpoint, Interface, Neighbor, PodNetwork, Route


def endpoint(index: int, name: str, *addresses: str) -> Endpoint:
    return Endpoint(
        type=EndpointType.VETH,
        index=index,
        interface=Interface(
            name=name, mac=f"02:00:00:00:00:{index:02x}", mtu=1400, addresses=addresses
        ),
        model=NetInterworkingModel.TC_FILTER,
    )


NETWORK = PodNetwork(
    namespace="/n",
    created=True,
    endpoints=(
        endpoint(0, "eth0", "10.0.0.2/24", "fd00::2/64"),
        endpoint(1, "inner", "10.1.0.2/16"),
    ),
    routes=(
        Route(device="eth0", gateway="10.0.0.1"),
        Route(device="eth0", gateway="fd00::1", family=6),
        Route(device="inner", dest="10.2.0.0/16", source="10.1.0.2"),
    ),
    neighbors=(Neighbor(device="eth0", address="10.0.0.9", mac="02:00:00:00:00:99"),),
    dns=Dns(nameservers=("10.0.0.1",), domain="lan", options=("ndots:2",)),
)


def test_hyperstart_gets_names_of_its_kernel_and_no_key_that_it_would_refuse():
    made = requests.start_pod("web", NETWORK, 4244)
    assert made["interfaces"] == [
        {
            "device": "eth0",
            "ipAddresses": [{"ipAddress": "10.0.0.2", "netMask": "24"}],
            "mtu": 1400,
        },
        {
            "device": "eth1",
            "newDeviceName": "inner",
            "ipAddresses": [{"ipAddress": "10.1.0.2", "netMask": "16"}],
            "mtu": 1400,
        },
    ]
    assert made["routes"] == [  # gateways must be reachable first
        {"dest": "10.2.0.0/16", "device": "inner"},
        {"dest": "default", "device": "eth0", "gateway": "10.0.0.1"},
    ]
    assert (made["dns"], made["dnsSearch"], made["dnsOptions"]) == (
        ["10.0.0.1"],
        ["lan"],
        ["ndots:2"],
    )


@pytest.mark.parametrize("version", [4242, None])
def test_what_only_newer_ones_know_is_left_away(version: int | None):
    made = requests.start_pod("web", NETWORK, version)
    assert {"dnsSearch", "dnsOptions"}.isdisjoint(made)
    assert made["dns"] == ["10.0.0.1"]


def test_clear_containers_agent_finds_interfaces_by_their_mac():
    made = requests.start_pod("web", NETWORK)
    assert [(one["macAddr"], one["newDeviceName"]) for one in made["interfaces"]] == [
        ("02:00:00:00:00:00", "eth0"),
        ("02:00:00:00:00:01", "inner"),
    ]
    assert made["routes"][0]["src"] == "10.1.0.2"


def test_only_what_is_new_is_told_later_by_the_first_free_name():
    plugged = msgspec.structs.replace(NETWORK, pending=("inner",))
    (told,) = networks.interfaces(plugged, 4244)
    assert (told["device"], told["newDeviceName"]) == ("eth1", "inner")
    assert networks.routes(plugged, 4244) == [{"dest": "10.2.0.0/16", "device": "inner"}]


def test_what_is_left_out_is_said():
    assert networks.left_out(NETWORK) == "IPv6 addresses, IPv6 routes, permanent neighbours"
    plugged = msgspec.structs.replace(NETWORK, pending=("inner",))
    assert networks.left_out(plugged) == ""


def test_a_pod_without_a_network_is_told_of_none():
    assert set(requests.start_pod("web", None, 4244)) == {"hostname", "shareDir"}
