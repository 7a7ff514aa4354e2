"""A network of the tests' own: a namespace with a bridge, and namespaces that are plugged into it.

Nothing of it touches the machine's network, so tests can look whether everything is as it was.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vctui.linux import netns, taps

P = ParamSpec("P")
T = TypeVar("T")
BRIDGE = "lan0"
PERMANENT = 0x80
NO_ARP = 0x80
IPVLAN_MODES = ("l2", "l3", "l3s")
"""In the kernel's order; it makes `l3` where none is asked for."""


class Lan:
    """Its bridge has the first address of each of its networks."""

    def __init__(self, root: Path, name: str, addresses: tuple[str, ...]) -> None:
        self.root = root
        self.path = root / name
        netns.create(self.path)
        self.namespaces = [self.path]
        self.inside(_make_bridge, addresses)

    def inside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return netns.inside(self.path, work, *args, **kwargs)

    def namespace(self, name: str) -> Path:
        """A new namespace that nothing is in."""
        path = self.root / name
        netns.create(path)
        self.namespaces.append(path)
        return path

    def plug(
        self,
        namespace: Path,
        interface: str = "eth0",
        *,
        addresses: tuple[str, ...],
        gateways: tuple[str, ...] = (),
        mtu: int = 1500,
        mac: str = "",
        routes: tuple[str, ...] = (),
    ) -> None:
        """Give the namespace an interface whose other end is a port of the bridge."""
        port = f"p{len(self.inside(link_names))}"
        self.inside(_make_pair, port, namespace, interface, mtu)
        netns.inside(namespace, _configure, interface, addresses, gateways, mtu, mac)
        netns.inside(namespace, _add_routes, routes)

    def tap(self, name: str) -> None:
        """A tap that is a port of the bridge, for a switch in user space."""
        self.inside(taps.create, name, multi_queue=False)
        self.inside(_join, name)

    def unplug(self, namespace: Path, interface: str) -> None:
        netns.inside(namespace, _delete, interface)

    def close(self) -> None:
        for path in self.namespaces:
            netns.remove(path)


@contextmanager
def made(root: Path, name: str = "lan", *addresses: str) -> Iterator[Lan]:
    lan = Lan(root, name, addresses or ("10.77.0.1/24", "fd77::1/64"))
    try:
        yield lan
    finally:
        lan.close()


def link_names() -> list[str]:
    """Of the current namespace."""
    with IPRoute() as ip:
        return [link.get_attr("IFLA_IFNAME") for link in ip.get_links()]


def has_kind(namespace: Path, kind: str, on: str) -> bool:
    """Whether the kernel makes links of that kind on top of the namespace's `on`."""

    def attempt() -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="probe", kind=kind, link=ip.link_lookup(ifname=on)[0])
            ip.link("del", ifname="probe")

    try:
        netns.inside(namespace, attempt)
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        return False
    return True


def share(
    card: Path,
    on: str,
    pod: Path,
    kind: str,
    *,
    addresses: tuple[str, ...],
    mtu: int = 1500,
    mode: str = "l2",
) -> None:
    """Give the namespace `pod` an eth0 of that kind on top of the link `on` of the namespace
    `card`; `mode` is of ipvlan."""

    def add() -> None:
        target = os.open(pod, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with IPRoute() as ip:
                (lower,) = ip.link_lookup(ifname=on)
                more = {"ipvlan_mode": IPVLAN_MODES.index(mode)} if kind == "ipvlan" else {}
                ip.link("add", ifname="eth0", kind=kind, link=lower, net_ns_fd=target, **more)
        finally:
            os.close(target)

    netns.inside(card, add)
    netns.inside(pod, _configure, "eth0", addresses, (), mtu, "")


def lead(interface: str, destinations: tuple[str, ...], *, arp: bool) -> None:
    """Routes to what is directly behind the interface, which asks for hardware addresses or not."""
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=interface)
        if not arp:
            ip.link("set", index=index, flags=NO_ARP, change=NO_ARP)
        for destination in destinations:
            ip.route("add", dst=destination, oif=index)


def add_neighbor(interface: str, address: str, mac: str) -> None:
    """A permanent one."""
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=interface)
        ip.neigh("add", dst=address, lladdr=mac, ifindex=index, state=PERMANENT)


def picture(namespace: Path) -> dict[str, object]:
    """What a namespace looks like, to be compared with what it looks like later."""

    def is_kernels_own(address: str | None) -> bool:
        """Link-local: it comes a while after the link."""
        return address is not None and address.startswith("fe80:")

    def look() -> dict[str, object]:
        with IPRoute() as ip:
            links = {link["index"]: link for link in ip.get_links()}
            return {
                "links": [
                    [link.get_attr(f"IFLA_{name}") for name in ("IFNAME", "ADDRESS", "MTU")]
                    for link in links.values()
                ],
                "masters": [link.get_attr("IFLA_MASTER") for link in links.values()],
                "addresses": sorted(
                    str([one["index"], one["prefixlen"], one.get_attr("IFA_ADDRESS")])
                    for one in ip.get_addr()
                    if not is_kernels_own(one.get_attr("IFA_ADDRESS"))
                ),
                "routes": sorted(
                    str([one["dst_len"], one.get_attr("RTA_DST"), one.get_attr("RTA_GATEWAY")])
                    for one in ip.get_routes()
                    if one["type"] == 1
                    and one["table"] == 254
                    and not is_kernels_own(one.get_attr("RTA_DST"))
                ),
                "queues": sorted(
                    str([one["index"], one.get_attr("TCA_KIND")]) for one in ip.get_qdiscs()
                ),
            }

    return netns.inside(namespace, look)


def _make_bridge(addresses: tuple[str, ...]) -> None:
    with IPRoute() as ip:
        ip.link("add", ifname=BRIDGE, kind="bridge", br_forward_delay=0)
        _address(ip, BRIDGE, addresses)


def _join(port: str) -> None:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=port)
        ip.link("set", index=index, master=ip.link_lookup(ifname=BRIDGE)[0], state="up")


def _make_pair(port: str, namespace: Path, interface: str, mtu: int) -> None:
    target = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with IPRoute() as ip:
            peer = {"ifname": interface, "net_ns_fd": target}
            ip.link("add", ifname=port, kind="veth", peer=peer)
            bridge = ip.link_lookup(ifname=BRIDGE)[0]
            ip.link("set", ifname=port, master=bridge, mtu=mtu, state="up")
    finally:
        os.close(target)


def _configure(
    interface: str, addresses: tuple[str, ...], gateways: tuple[str, ...], mtu: int, mac: str
) -> None:
    with IPRoute() as ip:
        ip.link("set", ifname=interface, mtu=mtu, **({"address": mac} if mac else {}))
        _address(ip, interface, addresses)
        for gateway in gateways:
            ip.route("add", dst="::/0" if ":" in gateway else "0.0.0.0/0", gateway=gateway)


def _add_routes(routes: tuple[str, ...]) -> None:
    """Each `DESTINATION GATEWAY`."""
    with IPRoute() as ip:
        for route in routes:
            destination, gateway = route.split()
            ip.route("add", dst=destination, gateway=gateway)


def _delete(interface: str) -> None:
    with IPRoute() as ip:
        ip.link("del", ifname=interface)


def _address(ip: IPRoute, interface: str, addresses: tuple[str, ...]) -> None:
    """Usable at once: duplicates are not looked for, which would take two seconds."""
    index = ip.link_lookup(ifname=interface)[0]
    for name in ("accept_dad", "dad_transmits"):
        Path(f"/proc/sys/net/ipv6/conf/{interface}/{name}").write_text("0")
    ip.link("set", index=index, state="up")
    for address in addresses:
        text, _, length = address.partition("/")
        ip.addr("add", index=index, address=text, prefixlen=int(length))
