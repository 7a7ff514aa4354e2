"""A pod's network in the store."""

from __future__ import annotations

from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import (
    Attachment,
    Dns,
    Endpoint,
    Interface,
    Neighbor,
    PhysicalDevice,
    PodNetwork,
    Route,
)
from vctui.store.codec import decode, encode

ETH0 = Interface(name="eth0", mac="02:00:00:00:00:02", mtu=1400, addresses=("10.0.0.2/24",))


def test_a_network_is_read_back_as_it_was_written():
    network = PodNetwork(
        namespace="/run/vctui/pods/web/netns",
        created=True,
        attachments=(Attachment(network="pods", interface="eth0", dns=Dns(domain="example")),),
        endpoints=(
            Endpoint(
                type=EndpointType.PHYSICAL,
                index=0,
                interface=ETH0,
                model=NetInterworkingModel.TC_FILTER,
                physical=PhysicalDevice(
                    bdf="0000:03:00.0", driver="ixgbe", vendor_device="8086 10fb"
                ),
            ),
        ),
        routes=(Route(device="eth0", gateway="10.0.0.1"),),
        neighbors=(Neighbor(device="eth0", address="10.0.0.1", mac="02:00:00:00:00:01"),),
        dns=Dns(nameservers=("10.0.0.1",)),
    )
    assert decode(encode(network), PodNetwork, "network") == network


def test_endpoints_are_named_by_their_place():
    endpoint = Endpoint(
        type=EndpointType.VETH, index=3, interface=ETH0, model=NetInterworkingModel.BRIDGED
    )
    assert endpoint.id == "net3"
