"""What is in a pod's namespace → the endpoints that the pod has (sheet §6.3).

`look` reads the namespace that it is called in; everything else is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from vctui.drivers.endpoints import direct, physical, vhost_user
from vctui.errors import InvalidConfig, NetworkError
from vctui.linux.links import Link, Links, Neighbor, Route
from vctui.model import network
from vctui.model.kinds import EndpointType, NetInterworkingModel

DEFAULT_MODEL: Final = NetInterworkingModel.TC_FILTER
"""See docs/decisions/0003."""
MAX_QUEUES: Final = 8
_KINDS: Final = {
    "veth": EndpointType.VETH,
    "macvlan": EndpointType.MACVLAN,
    "ipvlan": EndpointType.IPVLAN,
    "macvtap": EndpointType.MACVTAP,
}


@dataclass(frozen=True, slots=True)
class View:
    """A namespace at one moment."""

    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    neighbors: tuple[Neighbor, ...]
    cards: Mapping[str, network.PhysicalDevice] = field(default_factory=dict)
    """Network cards of the host, by their links' names."""
    served: Mapping[str, str] = field(default_factory=dict)
    """Sockets of vhost-user, by the names of the links that they serve."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(link.name for link in self.links)


def look() -> View:
    """The current namespace. Raises OSError."""
    with Links() as net:
        links = tuple(net.all())
        routes, neighbors = tuple(net.routes()), tuple(net.neighbors())
    own = [link.name for link in links if not link.kind and not link.loopback]
    cards = {name: card for name in own if (card := physical.find(name))}
    found = {link.name: vhost_user.find(link.addresses) for link in links if not link.loopback}
    return View(
        links, routes, neighbors, cards, {name: socket for name, socket in found.items() if socket}
    )


def endpoints(
    view: View,
    config: network.NetworkConfig,
    *,
    processors: int,
    known: Sequence[network.Endpoint] = (),
    wire: Callable[[network.Endpoint, frozenset[str]], network.Endpoint],
) -> tuple[network.Endpoint, ...]:
    """The endpoints that the namespace's interfaces make, beyond those that are known.

    Loopback devices, what has no address, and what was made for an endpoint are none.

    Args:
        processors: of the machine.
        wire: fills in what will be made for an endpoint, given the names that are taken.

    Raises:
        NetworkError: there are fewer than `num_interfaces`.
        InvalidConfig: one cannot be given to a machine.
    """
    made = {name for one in known for name in (one.interface.name, one.tap, one.bridge)}
    candidates = [
        link
        for link in view.links
        if link.addresses and not link.loopback and link.name not in made
    ]
    if config.num_interfaces and not known:
        if len(candidates) < config.num_interfaces:
            there = ", ".join(link.name for link in candidates) or "none"
            raise NetworkError(
                f"network_config.num_interfaces is {config.num_interfaces}, but the namespace has "
                f"fewer interfaces with an address ({there}); add some, or leave it out"
            )
        candidates = candidates[: config.num_interfaces]
    taken = set(view.names)
    free = iter(sorted(set(range(len(known) + len(candidates))) - {one.index for one in known}))
    found = []
    for link in candidates:
        planned = _endpoint(view, link, next(free), config, processors)
        endpoint = wire(planned, frozenset(taken))
        taken |= {endpoint.tap, endpoint.bridge}
        found.append(endpoint)
    return tuple(found)


def routes(view: View, of: Sequence[network.Endpoint]) -> tuple[network.Route, ...]:
    """Those through interfaces that the guest gets."""
    names = {one.interface.name for one in of}
    return tuple(
        network.Route(
            device=route.device,
            dest=route.dest,
            gateway=route.gateway,
            source=route.source,
            scope=route.scope,
            family=route.family,
            flags=route.flags,
            mtu=route.mtu,
        )
        for route in view.routes
        if route.device in names
    )


def restore(wanted: Sequence[network.Route]) -> None:
    """Give the current namespace routes that it has lost with their interfaces' addresses; a route
    of an interface that is gone is gone, too. Raises OSError."""
    with Links() as net:
        there = {(route.device, route.dest, route.gateway) for route in net.routes()}
        names = {link.name for link in net.all()}
        for route in sorted(wanted, key=lambda one: bool(one.gateway)):
            if route.device in names and (route.device, route.dest, route.gateway) not in there:
                net.set_route(Route(**msgspec.structs.asdict(route)))


def neighbors(view: View, of: Sequence[network.Endpoint]) -> tuple[network.Neighbor, ...]:
    names = {one.interface.name for one in of}
    return tuple(
        network.Neighbor(device=each.device, address=each.address, mac=each.mac)
        for each in view.neighbors
        if each.device in names
    )


def _endpoint(
    view: View, link: Link, index: int, config: network.NetworkConfig, processors: int
) -> network.Endpoint:
    kind = EndpointType.TAP if link.is_tap else _KINDS.get(link.kind)
    if link.name in view.cards:
        kind = EndpointType.PHYSICAL
    elif link.name in view.served:
        kind = EndpointType.VHOST_USER
    if kind is None:
        raise InvalidConfig(
            f"interface {link.name!r} of the pod's network namespace is a "
            f"{link.kind or 'device of the host'}, which cannot be given to a machine; use one of "
            "veth, tap, macvtap, macvlan, ipvlan and network cards, or take its addresses away"
        )
    if link.l3s:
        raise InvalidConfig(
            f"interface {link.name!r} of the pod's network namespace is an ipvlan of mode l3s, "
            "which hands packets to nobody but the namespace itself; make it with mode l2 or l3"
        )
    model = config.interworking_model
    if kind in direct.KINDS:
        model = NetInterworkingModel.ENLIGHTENED
    elif model is NetInterworkingModel.DEFAULT:
        model = DEFAULT_MODEL
    return network.Endpoint(
        type=kind,
        index=index,
        interface=network.Interface(
            name=link.name, mac=link.mac, mtu=link.mtu, addresses=link.addresses, arp=link.arp
        ),
        model=model,
        queues=min(processors, MAX_QUEUES),
        physical=view.cards.get(link.name),
        socket=view.served.get(link.name, "") if kind is EndpointType.VHOST_USER else "",
    )
