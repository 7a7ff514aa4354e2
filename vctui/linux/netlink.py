"""Links, addresses, routes and neighbours of the current network namespace.

Values are friendly here (names, texts, numbers); the kernel's fields stay in wire/rtnetlink.
The guest ships this module: it imports little.
"""

from __future__ import annotations

import _socket  # what the much larger `socket` wraps
import os
import struct

from vctui.wire import rtnetlink as rt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

AF_INET, AF_INET6 = int(_socket.AF_INET), int(_socket.AF_INET6)
_NETLINK_ROUTE = 0
_RECEIVE = 256 * 1024
_PATIENCE = 10.0
"""Seconds; the kernel answers at once."""

# attributes of links, addresses, routes, neighbours (if_link.h, if_addr.h, rtnetlink.h)
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_INFO_KIND = 1, 3, 4, 18, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_METRICS, _RTA_TABLE = 1, 4, 5, 7, 8, 15
_RTAX_MTU = 2
_NDA_DST, _NDA_LLADDR = 1, 2

_IFF_UP, _IFF_LOOPBACK, _IFF_NOARP = 0x1, 0x8, 0x80
_PROTO_KERNEL, _PROTO_BOOT = 2, 3
_SCOPE_LINK = 253
_NO_DUPLICATES = 2
"""IFA_F_NODAD."""
_TABLE_MAIN = 254
_TYPE_UNICAST = 1
_NEIGHBOR_PERMANENT = 0x80

_U32 = struct.Struct("=I")


class Link:
    """A network interface with its addresses, each as `10.0.0.2/24`."""

    def __init__(self, index: int, flags: int, values: Mapping[int, bytes]) -> None:
        kind = rt.parse_attributes(values.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"")
        self.index = index
        self.flags = flags
        self.name = _text(values.get(_IFLA_IFNAME, b""))
        self.mac = values.get(_IFLA_ADDRESS, b"").hex(":")
        self.mtu = _number(values.get(_IFLA_MTU, b""))
        self.kind = _text(kind)
        """As `ip link` says it: "" for a device of its own, else veth, bridge, macvlan…"""
        self.addresses: list[str] = []

    @property
    def is_loopback(self) -> bool:
        return bool(self.flags & _IFF_LOOPBACK)


class Route:
    """A route of the main table. `dest` (`10.1.0.0/16`) is "" for the default route."""

    def __init__(
        self,
        *,
        family: int,
        device: str,
        dest: str = "",
        gateway: str = "",
        source: str = "",
        scope: int = 0,
        flags: int = 0,
        mtu: int = 0,
        protocol: int = _PROTO_BOOT,
    ) -> None:
        self.family = family
        """AF_INET or AF_INET6."""
        self.device = device
        self.dest = dest
        self.gateway = gateway
        self.source = source
        self.scope = scope
        self.flags = flags
        self.mtu = mtu
        self.protocol = protocol

    @property
    def is_kernels(self) -> bool:
        """Made by the kernel itself for an address: it comes and goes with that."""
        return self.protocol == _PROTO_KERNEL


class Netlink:
    """One conversation with the kernel: `with Netlink() as net`.

    All methods raise OSError with what the kernel refuses, ValueError for texts that are no
    addresses.
    """

    def __init__(self) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._socket.settimeout(_PATIENCE)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def links(self) -> list[Link]:
        found = {}
        for message in self._ask(rt.GETLINK, rt.DUMP, rt.LINK.pack(0, 0, 0, 0, 0)):
            _, _, index, flags, _ = rt.LINK.unpack_from(message.body)
            values = rt.parse_attributes(message.body[rt.LINK.size :])
            found[index] = Link(index, flags, values)
        for index, address, _ in self._addresses():
            if index in found:
                found[index].addresses.append(address)
        return list(found.values())

    def set_link(
        self, index: int, *, name: str = "", mac: str = "", mtu: int = 0, arp: bool = True
    ) -> None:
        """Change what is given, and set it up; it goes down for a new name or MAC."""
        values = {}
        if name:
            values[_IFLA_IFNAME] = name.encode() + b"\0"
        if mac:
            values[_IFLA_ADDRESS] = bytes.fromhex(mac.replace(":", ""))
        if mtu:
            values[_IFLA_MTU] = _U32.pack(mtu)
        if name or mac:
            self._ask(rt.SETLINK, rt.ACK, rt.LINK.pack(0, 0, index, 0, _IFF_UP))
        flags = _IFF_UP | (0 if arp else _IFF_NOARP)
        fixed = rt.LINK.pack(0, 0, index, flags, _IFF_UP | _IFF_NOARP)
        self._ask(rt.SETLINK, rt.ACK, fixed, values)

    def set_addresses(self, index: int, addresses: Sequence[str]) -> None:
        """Give the link exactly these addresses (`10.0.0.2/24`); link-local ones stay.

        They can be used at once: nobody looks for duplicates, which would take IPv6 a second or
        two. Who gave out the addresses has seen to that.
        """
        present = {
            address
            for at, address, scope in self._addresses()
            if at == index and scope != _SCOPE_LINK
        }
        for address in sorted(present - set(addresses)):
            self._address(rt.DELADDR, 0, index, address)
        for address in addresses:
            if address not in present:
                self._address(rt.NEWADDR, rt.CREATE | rt.EXCLUSIVE, index, address)

    def routes(self) -> list[Route]:
        """Unicast routes of the main table, of both families."""
        names = {link.index: link.name for link in self.links()}
        found = []
        for message in self._ask(rt.GETROUTE, rt.DUMP, rt.ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            fields = rt.ROUTE.unpack_from(message.body)
            family, length, _, _, table, protocol, scope, kind, flags = fields
            values = rt.parse_attributes(message.body[rt.ROUTE.size :])
            table = _number(values[_RTA_TABLE]) if _RTA_TABLE in values else table
            if table != _TABLE_MAIN or kind != _TYPE_UNICAST or family not in {AF_INET, AF_INET6}:
                continue
            dest = _address_text(values.get(_RTA_DST, b""))
            metrics = rt.parse_attributes(values.get(_RTA_METRICS, b""))
            found.append(
                Route(
                    family=family,
                    device=names.get(_number(values.get(_RTA_OIF, b"")), ""),
                    dest=f"{dest}/{length}" if dest else "",
                    gateway=_address_text(values.get(_RTA_GATEWAY, b"")),
                    source=_address_text(values.get(_RTA_PREFSRC, b"")),
                    scope=scope,
                    flags=flags,
                    mtu=_number(metrics.get(_RTAX_MTU, b"")),
                    protocol=protocol,
                )
            )
        return found

    def add_route(self, route: Route, index: int) -> None:
        """Add a route through the link, or replace one to the same destination."""
        self._route(rt.NEWROUTE, rt.CREATE | rt.REPLACE, route, index, route.flags)

    def delete_route(self, route: Route, index: int) -> None:
        self._route(rt.DELROUTE, 0, route, index, 0)  # what it reads as may not be asked for

    def add_neighbor(
        self, index: int, address: str, mac: str, *, state: int = 0, flags: int = 0
    ) -> None:
        """`state` 0 means permanent."""
        values = {_NDA_DST: _address_bytes(address)}
        if mac:
            values[_NDA_LLADDR] = bytes.fromhex(mac.replace(":", ""))
        fixed = rt.NEIGHBOR.pack(_family(address), index, state or _NEIGHBOR_PERMANENT, flags, 0)
        self._ask(rt.NEWNEIGH, rt.ACK | rt.CREATE | rt.REPLACE, fixed, values)

    def _addresses(self) -> list[tuple[int, str, int]]:
        """Link, address and scope."""
        found = []
        for message in self._ask(rt.GETADDR, rt.DUMP, rt.ADDRESS.pack(0, 0, 0, 0, 0)):
            _, length, _, scope, index = rt.ADDRESS.unpack_from(message.body)
            values = rt.parse_attributes(message.body[rt.ADDRESS.size :])
            address = _address_text(values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS, b""))
            found.append((index, f"{address}/{length}", scope))
        return found

    def _address(self, kind: int, flags: int, index: int, text: str) -> None:
        address, length = _prefix(text)
        packed = _address_bytes(address)
        family = _family(address)
        state = _NO_DUPLICATES if family == AF_INET6 else 0
        fixed = rt.ADDRESS.pack(family, length, state, 0, index)
        self._ask(kind, flags | rt.ACK, fixed, {_IFA_LOCAL: packed, _IFA_ADDRESS: packed})

    def _route(self, kind: int, flags: int, route: Route, index: int, of_route: int) -> None:
        values = {_RTA_OIF: _U32.pack(index)}
        length = 0
        if route.dest:
            address, length = _prefix(route.dest)
            values[_RTA_DST] = _address_bytes(address)
        if route.gateway:
            values[_RTA_GATEWAY] = _address_bytes(route.gateway)
        if route.source:
            values[_RTA_PREFSRC] = _address_bytes(route.source)
        if route.mtu:
            values[_RTA_METRICS] = rt.attributes({_RTAX_MTU: _U32.pack(route.mtu)})
        shape = (route.family, length, 0, 0, _TABLE_MAIN, route.protocol, route.scope)
        fixed = rt.ROUTE.pack(*shape, _TYPE_UNICAST, of_route)
        self._ask(kind, flags | rt.ACK, fixed, values)

    def _ask(
        self, kind: int, flags: int, fixed: bytes, values: Mapping[int, bytes] | None = None
    ) -> list[rt.Message]:
        """Send a request, and take answers until the last."""
        self._sequence += 1
        self._socket.send(rt.encode(kind, flags, self._sequence, fixed, values))
        found: list[rt.Message] = []
        while True:
            for message in rt.decode(self._socket.recv(_RECEIVE)):
                if message.kind == rt.ERROR:
                    if message.error:
                        raise OSError(message.error, os.strerror(message.error))
                    return found
                if message.kind == rt.DONE:
                    return found
                found.append(message)


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def _address_bytes(text: str) -> bytes:
    try:
        return _socket.inet_pton(_family(text), text)
    except OSError:
        raise ValueError(f"{text!r} is no IP address") from None


def _address_text(data: bytes) -> str:
    if len(data) not in {4, 16}:
        return ""
    return _socket.inet_ntop(AF_INET6 if len(data) == 16 else AF_INET, data)


def _prefix(text: str) -> tuple[str, int]:
    address, _, length = text.partition("/")
    whole = 128 if ":" in address else 32
    if length and not (length.isdecimal() and int(length) <= whole):
        raise ValueError(f"{text!r} is no IP address with the length of its prefix")
    return address, int(length) if length else whole


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _number(data: bytes) -> int:
    return int(_U32.unpack(data)[0]) if len(data) == _U32.size else 0
