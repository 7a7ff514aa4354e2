"""The network that `vctui network init` makes: a bridge of the host, with addresses of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vctui.wire.cni.network import NetworkList

MADE_HERE: Final = "vctui network init"
_MAKER: Final = "madeBy"
"""A key of ours; CNI lets the owner of a file have keys that no plugin sees."""
_CANDIDATES: Final = tuple(f"10.{number}.0.0/16" for number in range(88, 128))


def bridge_network(
    name: str,
    *,
    bridge: str,
    subnets: Sequence[str],
    leases: str,
    masquerade: bool = True,
    filters: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A .conflist: pods reach the host, each other, and what the host reaches.

    Args:
        bridge: name of the link.
        subnets: of either family; their first addresses are the host's.
        leases: folder for the addresses that are taken.
        masquerade: hide pods behind the host's address where they go beyond it.
        filters: plugins that come after the bridge.
    """
    routes = {4: "0.0.0.0/0", 6: "::/0"}
    versions = sorted({ipaddress.ip_network(one).version for one in subnets})
    ipam: dict[str, Any] = {
        "type": "host-local",
        "dataDir": leases,
        "ranges": [[{"subnet": one}] for one in subnets],
        "routes": [{"dst": routes[version]} for version in versions],
    }
    first = {
        "type": "bridge",
        "bridge": bridge,
        "isGateway": True,
        "ipMasq": masquerade,
        "hairpinMode": True,
        "ipam": ipam,
    }
    return {
        "cniVersion": "1.0.0",
        "name": name,
        _MAKER: MADE_HERE,
        "plugins": [first, *(dict(one) for one in filters)],
    }


def is_made_here(document: Mapping[str, Any]) -> bool:
    return document.get(_MAKER) == MADE_HERE


def bridge_of(network: NetworkList) -> str:
    """The link that pods are connected to; "" where the network does not say."""
    for plugin in network.plugins:
        if plugin["type"] == "bridge":
            name = plugin.get("bridge", "cni0")  # the plugin's own default
            return name if isinstance(name, str) else ""
    return ""


def subnets_of(network: NetworkList) -> tuple[str, ...]:
    """Where pods get addresses from, as host-local is told it."""
    found: list[str] = []
    for plugin in network.plugins:
        ipam = plugin.get("ipam")
        if not isinstance(ipam, dict):
            continue
        ranges = ipam.get("ranges", [])
        sets = [one for one in ranges if isinstance(one, list)] if isinstance(ranges, list) else []
        for item in (ipam, *(item for one in sets for item in one)):
            subnet = item.get("subnet") if isinstance(item, dict) else None
            if isinstance(subnet, str) and _parse(subnet):
                found.append(subnet)
    return tuple(found)


def free_subnet(taken: Iterable[str]) -> str | None:
    """A private subnet that overlaps none of `taken` (addresses or networks with prefix lengths);
    None where there is none left."""
    used = [network for text in taken if (network := _parse(text)) and network.version == 4]
    # a default route overlaps everything and takes nothing
    used = [network for network in used if network.prefixlen > 0]
    for candidate in _CANDIDATES:
        network = ipaddress.ip_network(candidate)
        if not any(network.overlaps(other) for other in used):
            return candidate
    return None


def unique_local_subnet(randomness: bytes) -> str:
    """An IPv6 subnet of five random bytes (RFC 4193)."""
    prefix = int.from_bytes(b"\xfd" + randomness[:5].rjust(5, b"\0"), "big") << 80
    return f"{ipaddress.IPv6Address(prefix)}/64"


def _parse(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
