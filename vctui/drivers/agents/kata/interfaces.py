"""A pod's network → messages of the Kata agent's protocol (kata-agent ttrpc sheet §5). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vctui.model.network import Endpoint, PodNetwork
from vctui.wire import proto

if TYPE_CHECKING:
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import types_pb2 as types
else:
    agent = types = proto.messages

_PERMANENT: Final = 0x80
_NOARP: Final = 0x80


def interface(endpoint: Endpoint) -> types.Interface:
    """As the namespace had it. The agent finds the device by its MAC, and waits for one with a PCI
    path."""
    mine = endpoint.interface
    return types.Interface(
        device=mine.name,
        name=mine.name,
        IPAddresses=[_address(each) for each in mine.addresses],
        mtu=mine.mtu,
        hwAddr=mine.mac,
        devicePath=endpoint.pci_path,
        raw_flags=0 if mine.arp else _NOARP,
    )


def routes(network: PodNetwork) -> agent.Routes:
    return agent.Routes(
        Routes=[
            types.Route(
                dest=route.dest,
                gateway=route.gateway,
                device=route.device,
                source=route.source,
                scope=route.scope,
                family=types.v6 if route.family == 6 else types.v4,
                flags=route.flags,
                mtu=route.mtu,
            )
            for route in network.routes
        ]
    )


def neighbors(network: PodNetwork) -> agent.ARPNeighbors:
    return agent.ARPNeighbors(
        ARPNeighbors=[
            types.ARPNeighbor(
                toIPAddress=_address(each.address),
                device=each.device,
                lladdr=each.mac,
                state=_PERMANENT,
            )
            for each in network.neighbors
        ]
    )


def _address(text: str) -> types.IPAddress:
    address, _, length = text.partition("/")
    family = types.v6 if ":" in address else types.v4
    return types.IPAddress(family=family, address=address, mask=length)
