"""Links, addresses, routes and neighbours of the current network namespace (pyroute2).

Values are friendly here (names, texts, numbers); kernel fields and indexes stay inside.
"""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_IFF_LOOPBACK = 0x8
_PROTO_KERNEL = 2
_SCOPE_LINK = 253
_TABLE_MAIN = 254
_TYPE_UNICAST = 1


class Link:
    """A network interface with its addresses, each as `10.0.0.2/24`."""

    def __init__(self, *, index: int, name: str, mac: str, mtu: int, kind: str, flags: int) -> None:
        self.index = index
        self.name = name
        self.mac = mac
        self.mtu = mtu
        self.kind = kind
        """As `ip link` says it: "" for a device of its own, else veth, bridge, macvlan…"""
        self.flags = flags
        self.addresses: list[str] = []

    @property
    def is_loopback(self) -> bool:
        return bool(self.flags & _IFF_LOOPBACK)


class Route:
    """A route of the main table. `dest` is "" for the default route of its family."""

    def __init__(
        self,
        *,
        dest: str = "",
        gateway: str = "",
        device: str = "",
        source: str = "",
        scope: int = 0,
        flags: int = 0,
        mtu: int = 0,
        family: int = 2,
        proto: int = 0,
    ) -> None:
        self.dest = dest
        self.gateway = gateway
        self.device = device
        self.source = source
        self.scope = scope
        self.flags = flags
        self.mtu = mtu
        self.family = family
        """AF_INET or AF_INET6."""
        self.proto = proto

    @property
    def is_kernels(self) -> bool:
        """Made by the kernel itself with an address: it comes and goes with that."""
        return self.proto == _PROTO_KERNEL


class Netlink:
    """One conversation with the kernel. All methods raise OSError with what it refuses."""

    def __init__(self, socket: Any) -> None:
        self._ip = socket

    def links(self) -> list[Link]:
        found = {}
        for message in self._ip.get_links():
            information = message.get("linkinfo") or {}
            found[message["index"]] = Link(
                index=message["index"],
                name=message.get("ifname") or "",
                mac=message.get("address") or "",
                mtu=message.get("mtu") or 0,
                kind=information.get("kind") or "",
                flags=message["flags"],
            )
        for message in self._ip.get_addr():
            link = found.get(message["index"])
            address = message.get("local") or message.get("address")
            if link is not None and address:
                link.addresses.append(f"{address}/{message['prefixlen']}")
        return list(found.values())

    def set_link(
        self, index: int, *, name: str = "", mac: str = "", mtu: int = 0, arp: bool = True
    ) -> None:
        """Rename (the link is taken down for that), change, and set up."""
        wanted: dict[str, Any] = {"index": index, "arp": arp}
        if mac:
            wanted["address"] = mac
        if mtu:
            wanted["mtu"] = mtu
        with _os_errors():
            if name or mac:
                self._ip.link("set", index=index, state="down")
            if name:
                self._ip.link("set", index=index, ifname=name)
            self._ip.link("set", **wanted)
            self._ip.link("set", index=index, state="up")

    def set_addresses(self, index: int, addresses: Sequence[str]) -> None:
        """Give the link exactly these addresses (`10.0.0.2/24`); its IPv6 link-local one stays."""
        present = {
            f"{message.get('local') or message.get('address')}/{message['prefixlen']}"
            for message in self._ip.get_addr(index=index)
            if message["scope"] != _SCOPE_LINK
        }
        with _os_errors():
            for text in sorted(present - set(addresses)):
                address, _, length = text.partition("/")
                self._ip.addr("del", index=index, address=address, prefixlen=int(length))
            for text in addresses:
                if text not in present:
                    address, _, length = text.partition("/")
                    self._ip.addr("add", index=index, address=address, prefixlen=int(length))

    def routes(self) -> list[Route]:
        """Unicast routes of the main tables of both families."""
        names = {link.index: link.name for link in self.links()}
        found = []
        for message in self._ip.get_routes(table=_TABLE_MAIN):
            if message["type"] != _TYPE_UNICAST:
                continue
            dest = message.get("dst")
            metrics = message.get("metrics") or {}
            found.append(
                Route(
                    dest=f"{dest}/{message['dst_len']}" if dest else "",
                    gateway=message.get("gateway") or "",
                    device=names.get(message.get("oif"), ""),
                    source=message.get("prefsrc") or "",
                    scope=message["scope"],
                    flags=message["flags"],
                    mtu=metrics.get("mtu") or 0,
                    family=message["family"],
                    proto=message["proto"],
                )
            )
        return found

    def add_route(self, route: Route, index: int) -> None:
        self._route("replace", route, index)

    def delete_route(self, route: Route, index: int) -> None:
        self._route("del", route, index)

    def add_neighbor(self, index: int, address: str, mac: str, *, state: int, flags: int) -> None:
        with _os_errors():
            self._ip.neigh(
                "replace", ifindex=index, dst=address, lladdr=mac, state=state, flags=flags
            )

    def _route(self, command: str, route: Route, index: int) -> None:
        wanted: dict[str, Any] = {
            "dst": route.dest or ("default" if route.family == 2 else "::/0"),
            "oif": index,
            "family": route.family,
            "scope": route.scope,
        }
        if route.gateway:
            wanted["gateway"] = route.gateway
        if route.source:
            wanted["prefsrc"] = route.source
        if route.flags:
            wanted["flags"] = route.flags
        if route.mtu:
            wanted["metrics"] = {"mtu": route.mtu}
        with _os_errors():
            self._ip.route(command, **wanted)


@contextmanager
def conversation() -> Iterator[Netlink]:
    """A netlink socket for the time of the block."""
    from pyroute2 import IPRoute

    with IPRoute() as socket:
        yield Netlink(socket)


@contextmanager
def _os_errors() -> Iterator[None]:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, str(error.args[-1])) from error
