"""Links, addresses and routes in a network namespace of the test's own."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from vctui.linux import netns
from vctui.linux.netlink import Netlink

SCRIPT = """
from vctui.linux.netlink import AF_INET, AF_INET6, Netlink, Route

with Netlink() as net:
    lo = net.links()[0]
    assert (lo.name, lo.is_loopback, lo.addresses) == ("lo", True, []), vars(lo)
    net.set_link(lo.index, mtu=9000)
    assert net.links()[0].mtu == 9000
    for addresses in (["192.0.2.2/24", "2001:db8::2/64"], ["192.0.2.3/24"]):
        net.set_addresses(lo.index, addresses)
        found = set(net.links()[0].addresses)
        assert set(addresses) <= found <= {*addresses, "127.0.0.1/8", "::1/128"}, found
    for route in (
        Route(family=AF_INET, device="lo", dest="198.51.100.0/24", mtu=1300),
        Route(family=AF_INET, device="lo", gateway="192.0.2.3"),
        Route(family=AF_INET6, device="lo", dest="2001:db8:1::/48"),
    ):
        net.add_route(route, lo.index)
        net.add_route(route, lo.index)
    own = [route for route in net.routes() if not route.is_kernels]
    assert {(r.dest, r.gateway, r.mtu) for r in own} == {
        ("198.51.100.0/24", "", 1300),
        ("", "192.0.2.3", 0),
        ("2001:db8:1::/48", "", 0),
    }, [vars(route) for route in own]
    for route in own:
        net.delete_route(route, lo.index)
    assert all(route.is_kernels for route in net.routes())
    for refused, error in (
        (lambda: net.set_link(4711, mtu=1000), OSError),
        (lambda: net.set_addresses(lo.index, ["nonsense/8"]), ValueError),
        (lambda: net.set_addresses(lo.index, ["192.0.2.9/99"]), ValueError),
    ):
        try:
            refused()
        except error:
            continue
        raise AssertionError(refused)
"""


def test_the_loopback_is_there() -> None:
    with Netlink() as net:
        assert [link.name for link in net.links() if link.is_loopback] == ["lo"]


@pytest.mark.root
def test_links_addresses_and_routes_are_set_and_read() -> None:
    # without its own device, the loopback of a new namespace serves for all of it
    command = ["unshare", "--net", sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.root
def test_addresses_can_be_used_at_once(tmp_path: Path) -> None:
    """On an Ethernet device, where duplicates of an IPv6 address would be looked for first."""

    def bound() -> list[str]:
        with IPRoute() as ip:
            ip.link("add", ifname="eth0", kind="veth", peer={"ifname": "peer0"})
        with Netlink() as net:
            links = {link.name: link.index for link in net.links()}
            for index in links.values():
                net.set_link(index)
            net.set_addresses(links["eth0"], ["192.0.2.2/24", "2001:db8::2/64"])
        found = []
        for address in ("192.0.2.2", "2001:db8::2"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as udp:
                udp.bind((address, 0))  # refused while the address is tentative
                found.append(udp.getsockname()[0])
        return found

    namespace = tmp_path / "net"
    netns.create(namespace)
    try:
        assert netns.inside(namespace, bound) == ["192.0.2.2", "2001:db8::2"]
    finally:
        netns.remove(namespace)
