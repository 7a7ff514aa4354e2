"""Links, addresses, routes, neighbours and traffic control of a host's network namespace.

The door to pyroute2. The guest has a small one of its own (vctui.linux.netlink), as pyroute2 costs
a quarter of a second to load even where nothing is emulated; load this module lately, too.
Everything speaks of the namespace of the current thread; errors are OSError with the link's name.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vctui.errors import HostProblem

_LOOPBACK: Final = 0x8
_NOARP: Final = 0x80
_L3S: Final = 2
"""IPVLAN_MODE_L3S."""
_SCOPE_LINK: Final = 253
_MAIN: Final = 254
_UNICAST: Final = 1
_KERNELS_OWN: Final = frozenset({2, 9})
"""Protocols of routes that come with an address, or from a router's advertisement."""
_ONLINK: Final = 0x4
_PERMANENT: Final = 0x80
_INGRESS: Final = 0xFFFF0000
_ETH_P_ALL: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel describes it."""

    index: int
    name: str
    kind: str
    """`veth`, `bridge`, `tun`…; "" for a device of its own."""
    mac: str
    mtu: int
    master: int
    """Index of the bridge that it is a port of; 0 for none."""
    loopback: bool
    queue_length: int
    is_tap: bool
    """Of kind `tun`: whether it carries Ethernet frames."""
    addresses: tuple[str, ...]
    """`10.0.0.2/24`; without the link-local ones that the kernel gives itself."""
    arp: bool = True
    l3s: bool = False
    """Of kind `ipvlan`: whether its mode is that, in which packets come in past traffic control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A unicast route of the main table that somebody has set."""

    device: str
    dest: str
    """"" for the default route."""
    gateway: str
    source: str
    scope: int
    family: int
    """4 or 6."""
    flags: int
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """A permanent neighbour."""

    device: str
    address: str
    mac: str


class Links:
    """One conversation with the kernel: `with Links() as net`."""

    def __enter__(self) -> Self:
        self._ip = IPRoute()
        return self

    def __exit__(self, *_: object) -> None:
        self._ip.close()

    def all(self) -> list[Link]:
        """Every link, in the kernel's order."""
        with _errors("list the links"):
            addresses: dict[int, list[str]] = {}
            for message in self._ip.get_addr():
                if not (message["family"] == socket.AF_INET6 and message["scope"] == _SCOPE_LINK):
                    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                    prefixed = f"{text}/{message['prefixlen']}"
                    addresses.setdefault(message["index"], []).append(prefixed)
            return [
                _link(message, tuple(addresses.get(message["index"], ())))
                for message in self._ip.get_links()
            ]

    def find(self, name: str) -> Link | None:
        return next((link for link in self.all() if link.name == name), None)

    def get(self, name: str) -> Link:
        """Raises OSError (ENODEV)."""
        found = self.find(name)
        if found is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)
        return found

    def routes(self) -> list[Route]:
        """Of both families; without those that the kernel makes by itself for an address."""
        names = {link.index: link.name for link in self.all()}
        with _errors("list the routes"):
            found = [
                _route(message, names)
                for family in (socket.AF_INET, socket.AF_INET6)
                for message in self._ip.get_routes(family=family, table=_MAIN)
                if message["type"] == _UNICAST and message["proto"] not in _KERNELS_OWN
            ]
        return [route for route in found if route.device]

    def neighbors(self) -> list[Neighbor]:
        names = {link.index: link.name for link in self.all()}
        with _errors("list the neighbours"):
            return [
                Neighbor(
                    device=names.get(message["ifindex"], ""),
                    address=message.get_attr("NDA_DST"),
                    mac=message.get_attr("NDA_LLADDR"),
                )
                for family in (socket.AF_INET, socket.AF_INET6)
                for message in self._ip.get_neighbours(family=family)
                if message["state"] & _PERMANENT and message.get_attr("NDA_LLADDR")
            ]

    def add_bridge(self, name: str) -> Link:
        """A bridge that forwards multicast like anything else. Raises HostProblem, OSError."""
        self._add(name, "bridge", br_mcast_snooping=0)
        return self.get(name)

    def add_macvtap(self, name: str, lower: Link, *, index: int = 0) -> Link:
        """A macvtap in bridge mode on top of `lower`. Raises HostProblem, OSError."""
        chosen = {"index": index} if index else {}
        self._add(name, "macvtap", link=lower.index, macvtap_mode="bridge", **chosen)
        return self.get(name)

    def set(self, link: Link, **values: object) -> None:
        """Change `state`, `mtu`, `address` (MAC), `master`, `txqlen`."""
        with _errors(link.name):
            self._ip.link("set", index=link.index, **values)

    def silence(self, link: Link) -> None:
        """Let the namespace say and answer nothing through this link: what passes it is meant for
        others. A bridge would answer ARP for the addresses of its ports, and a device with the
        guest's MAC would have the guest's link-local address."""
        with _errors(link.name):
            self._ip.link("set", index=link.index, flags=_NOARP, change=_NOARP)
        switch = Path(f"/proc/sys/net/ipv6/conf/{link.name}/disable_ipv6")
        with suppress(FileNotFoundError):  # a kernel without IPv6
            switch.write_text("1", encoding="ascii")

    def delete(self, name: str) -> None:
        """Idempotent."""
        if (link := self.find(name)) is not None:
            with _errors(name):
                self._ip.link("del", index=link.index)

    def add_address(self, link: Link, address: str) -> None:
        ip, _, length = address.partition("/")
        with _errors(link.name):
            self._ip.addr("add", index=link.index, address=ip, prefixlen=int(length))

    def delete_address(self, link: Link, address: str) -> None:
        ip, _, length = address.partition("/")
        with _errors(link.name):
            self._ip.addr("del", index=link.index, address=ip, prefixlen=int(length))

    def set_route(self, route: Route) -> None:
        """Add a route, or replace one to the same destination."""
        values: dict[str, object] = {
            "family": socket.AF_INET6 if route.family == 6 else socket.AF_INET,
            "dst": route.dest or ("::/0" if route.family == 6 else "0.0.0.0/0"),
            "oif": self.get(route.device).index,
            "scope": route.scope,
            "flags": route.flags,
        }
        if route.gateway:
            values["gateway"] = route.gateway
        if route.source:
            values["prefsrc"] = route.source
        if route.mtu:
            values["metrics"] = {"mtu": route.mtu}
        with _errors(route.device):
            self._ip.route("replace", **values)

    def redirect(self, source: Link, target: Link) -> None:
        """Send on through `target` whatever comes in at `source`, before anybody here sees it.

        Raises:
            HostProblem: the kernel lacks traffic control.
            OSError: EEXIST where `source` has an ingress queue already.
        """
        action = {
            "kind": "mirred",
            "direction": "egress",
            "action": "redirect",
            "ifindex": target.index,
        }
        try:
            with _errors(source.name):
                self._ip.tc("add", "ingress", source.index)
                self._ip.tc(
                    "add-filter",
                    "u32",
                    source.index,
                    parent=_INGRESS,
                    protocol=_ETH_P_ALL,
                    prio=1,
                    target=0x10000,
                    keys=["0x0/0x0+0"],
                    action=action,
                )
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EOPNOTSUPP}:
                raise _missing("traffic control (sch_ingress, cls_u32, act_mirred)") from error
            raise

    def stop_redirecting(self, name: str) -> None:
        """Idempotent."""
        if (link := self.find(name)) is None:
            return
        with _errors(name):
            kinds = [
                message.get_attr("TCA_KIND")
                for message in self._ip.get_qdiscs(index=link.index)
                if message["index"] == link.index
            ]
            if "ingress" in kinds:
                self._ip.tc("del", "ingress", link.index)

    def _add(self, name: str, kind: str, **values: object) -> None:
        try:
            with _errors(name):
                self._ip.link("add", ifname=name, kind=kind, **values)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise _missing(kind) from error
            raise


def _missing(feature: str) -> HostProblem:
    return HostProblem(
        f"this host's kernel has no {feature}; load its modules with modprobe, or choose another "
        "network_config.interworking_model"
    )


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """NetlinkError is no OSError, though it has a number of those."""
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code), name) from error


def _link(message: Any, addresses: tuple[str, ...]) -> Link:
    info: Any = message.get_attr("IFLA_LINKINFO")
    kind = (info and info.get_attr("IFLA_INFO_KIND")) or ""
    data: Any = info.get_attr("IFLA_INFO_DATA") if kind in {"tun", "ipvlan"} else None
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mac=(message.get_attr("IFLA_ADDRESS") or "").lower(),
        mtu=message.get_attr("IFLA_MTU") or 0,
        master=message.get_attr("IFLA_MASTER") or 0,
        loopback=bool(message["flags"] & _LOOPBACK),
        queue_length=message.get_attr("IFLA_TXQLEN") or 0,
        is_tap=kind == "tun" and data is not None and data.get_attr("IFLA_TUN_TYPE") == 2,
        addresses=addresses,
        arp=not message["flags"] & _NOARP,
        l3s=kind == "ipvlan" and data is not None and data.get_attr("IFLA_IPVLAN_MODE") == _L3S,
    )


def _route(message: Any, names: Mapping[int, str]) -> Route:
    dest = message.get_attr("RTA_DST")
    metrics: Any = message.get_attr("RTA_METRICS")
    return Route(
        device=names.get(message.get_attr("RTA_OIF") or 0, ""),
        dest=f"{dest}/{message['dst_len']}" if dest else "",
        gateway=message.get_attr("RTA_GATEWAY") or "",
        source=message.get_attr("RTA_PREFSRC") or "",
        scope=message["scope"],
        family=6 if message["family"] == socket.AF_INET6 else 4,
        flags=message["flags"] & _ONLINK,
        mtu=(metrics and metrics.get_attr("RTAX_MTU")) or 0,
    )
