"""Interfaces, routes and neighbours as the protocol has them (sheet §5, §7)."""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.guest.uevents import appears
from vctui.linux.netlink import AF_INET, AF_INET6, Link, Netlink, Route
from vctui.wire import ttrpc
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from vctui.guest.loop import Loop
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import types_pb2 as types

_V6 = 1
_IFF_NOARP = 0x80
_MAX_NAME = 15
_PATIENCE = 10.0
"""Seconds for a device that was plugged in to appear. The three of the sheet (§8,
agent.hotplug_timeout) were too few where an emulated host emulates its guests."""
_DEFAULT = ("", "default", "0.0.0.0/0", "::/0")


def interfaces() -> Any:
    """Interfaces: all but the loopback."""
    with Netlink() as net:
        return message("Interfaces")(
            Interfaces=[_interface(link) for link in net.links() if not link.is_loopback]
        )


async def update_interface(loop: Loop, asked: types.Interface) -> Any:
    """Find the link by its MAC, else by its name, and give it name, MAC, MTU and addresses.

    Raises:
        AgentError: no such link appears, or the kernel refuses.
    """
    with Netlink() as net:
        if await appears(loop, lambda: _find(net.links(), asked), _PATIENCE) is None:
            raise AgentError(
                f"there is no interface {asked.name} with the address {asked.hwAddr}; the guest's "
                "kernel may have no driver for it"
            )
        links = net.links()
        link = _find(links, asked)
        if link is None:
            raise AgentError(f"the interface {asked.name} is gone as soon as it was there")
        try:
            return _update(net, links, link, asked)
        except (OSError, ValueError) as error:
            raise _refused(f"interface {asked.name}", error) from error


def routes() -> Any:
    """Routes: those that were set, not the kernel's own."""
    with Netlink() as net:
        return _routes(net)


def update_routes(asked: agent.Routes) -> Any:
    """Make the routes exactly what is asked; gives them as read back.

    Raises:
        AgentError: a device is missing, or the kernel refuses.
    """
    with Netlink() as net:
        indexes = {link.name: link.index for link in net.links()}
        try:
            for route in net.routes():
                if not route.is_kernels and route.device in indexes and route.device != "lo":
                    net.delete_route(route, indexes[route.device])
            _add_routes(net, indexes, asked.Routes)
        except (OSError, ValueError) as error:
            raise _refused("the routes", error) from error
        return _routes(net)


def add_routes(asked: Iterable[types.Route]) -> None:
    """To those that are there.

    Raises:
        AgentError: a device is missing, or the kernel refuses.
    """
    with Netlink() as net:
        try:
            _add_routes(net, {link.name: link.index for link in net.links()}, asked)
        except (OSError, ValueError) as error:
            raise _refused("the routes", error) from error


def delete_interface(name: str) -> None:
    """Take its addresses, and set it down.

    Raises:
        AgentError: there is none, or the kernel refuses.
    """
    with Netlink() as net:
        try:
            net.set_addresses(_index({link.name: link.index for link in net.links()}, name), [])
        except OSError as error:
            raise _refused(f"interface {name}", error) from error


def mac_of(name: str) -> str:
    """Of the interface that is called so; "" where there is none."""
    with Netlink() as net:
        return next((link.mac for link in net.links() if link.name == name), "")


def add_neighbors(asked: agent.ARPNeighbors) -> None:
    """
    Raises:
        AgentError: a device is missing, or the kernel refuses.
    """
    with Netlink() as net:
        indexes = {link.name: link.index for link in net.links()}
        for neighbor in asked.ARPNeighbors:
            index = _index(indexes, neighbor.device)
            address = neighbor.toIPAddress.address
            try:
                net.add_neighbor(
                    index, address, neighbor.lladdr, state=neighbor.state, flags=neighbor.flags
                )
            except (OSError, ValueError) as error:
                raise _refused(f"neighbour {address}", error) from error


def _add_routes(net: Netlink, indexes: dict[str, int], asked: Iterable[types.Route]) -> None:
    # those without a gateway first: gateways must be reachable
    for wanted in sorted(asked, key=lambda route: bool(route.gateway)):
        net.add_route(_route(wanted), _index(indexes, wanted.device))


def _find(links: list[Link], asked: types.Interface) -> Link | None:
    mac = asked.hwAddr.lower()
    by_mac = (link for link in links if mac and link.mac == mac and not link.is_loopback)
    by_name = (link for link in links if link.name == asked.name)
    return next(by_mac, None) or next(by_name, None)


def _update(net: Netlink, links: list[Link], link: Link, asked: types.Interface) -> Any:
    for other in links:
        if other.name == asked.name and other.index != link.index:
            net.set_link(other.index, name=f"{asked.name}_temp"[-_MAX_NAME:])
    net.set_link(
        link.index,
        name=asked.name if asked.name != link.name else "",
        mac=asked.hwAddr if asked.hwAddr.lower() not in {"", link.mac} else "",
        mtu=asked.mtu,
        arp=not asked.raw_flags & _IFF_NOARP,
    )
    net.set_addresses(link.index, [f"{each.address}/{each.mask}" for each in asked.IPAddresses])
    return _interface(next(each for each in net.links() if each.index == link.index))


def _interface(link: Link) -> Any:
    addresses = []
    for text in link.addresses:
        address, _, length = text.partition("/")
        family = _V6 if ":" in address else 0
        addresses.append(message("IPAddress")(family=family, address=address, mask=length))
    return message("Interface")(
        device=link.name,
        name=link.name,
        IPAddresses=addresses,
        mtu=link.mtu,
        hwAddr=link.mac,
        type=link.kind,
        raw_flags=link.flags,
    )


def _routes(net: Netlink) -> Any:
    return message("Routes")(
        Routes=[
            message("Route")(
                dest=route.dest,
                gateway=route.gateway,
                device=route.device,
                source=route.source,
                scope=route.scope,
                family=_V6 if route.family == AF_INET6 else 0,
                flags=route.flags,
                mtu=route.mtu,
            )
            for route in net.routes()
            if not route.is_kernels
        ]
    )


def _route(asked: types.Route) -> Route:
    v6 = asked.family == _V6 or ":" in asked.dest + asked.gateway
    return Route(
        family=AF_INET6 if v6 else AF_INET,
        device=asked.device,
        dest="" if asked.dest in _DEFAULT else asked.dest,
        gateway=asked.gateway,
        source=asked.source,
        scope=asked.scope,
        flags=asked.flags,
        mtu=asked.mtu,
    )


def _index(indexes: dict[str, int], device: str) -> int:
    if device not in indexes:
        raise AgentError(f"there is no interface {device!r}", code=ttrpc.INVALID_ARGUMENT)
    return indexes[device]


def _refused(what: str, error: Exception) -> AgentError:
    reason = error.strerror if isinstance(error, OSError) else None
    return AgentError(f"{what}: {reason or error}")
