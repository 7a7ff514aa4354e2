"""A pod's network → hyperstart's JSON (hyperstart sheet §4.1, §4.4, §8). Pure.

IPv4 only, as the protocol has it. hyperstart finds an interface by the name that its kernel gave
it, Clear Containers' agent (`version` None) by its MAC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vctui.model.network import Dns, Endpoint, PodNetwork, Route


def interfaces(network: PodNetwork, version: int | None) -> list[dict[str, Any]]:
    """Those that came since the guest was told last, or all of them."""
    new = [one for one in network.endpoints if one.interface.name in network.pending]
    known = {one.interface.name for one in network.endpoints} if new else set()
    known -= {one.interface.name for one in new}
    made = []
    for endpoint in new or network.endpoints:
        device = next(name for name in _names() if name not in known)
        known.add(device)
        made.append(_interface(endpoint, device, version))
    return made


def routes(network: PodNetwork, version: int | None) -> list[dict[str, Any]]:
    """Of the same interfaces; those without a gateway first, as gateways must be reachable."""
    told = [
        one
        for one in network.routes
        if one.family == 4 and (not network.pending or one.device in network.pending)
    ]
    return [_route(one, version) for one in sorted(told, key=lambda one: bool(one.gateway))]


def dns(settings: Dns, version: int | None) -> dict[str, list[str]]:
    """Search domains and options are fatal to a hyperstart before API 4243."""
    made = {"dns": list(settings.nameservers)}
    if version is not None and version > _OLD:
        made |= {
            "dnsSearch": list(settings.search or ((settings.domain,) if settings.domain else ())),
            "dnsOptions": list(settings.options),
        }
    return {key: value for key, value in made.items() if value}


def left_out(network: PodNetwork) -> str:
    """What of a network cannot be said, in words; "" where all can."""
    new = {one.interface.name for one in network.endpoints}
    new = new & set(network.pending) or new
    missing = {
        "IPv6 addresses": any(
            ":" in address
            for one in network.endpoints
            if one.interface.name in new
            for address in one.interface.addresses
        ),
        "IPv6 routes": any(one.family == 6 and one.device in new for one in network.routes),
        "permanent neighbours": any(one.device in new for one in network.neighbors),
    }
    return ", ".join(what for what, is_missing in missing.items() if is_missing)


_OLD = 4242


def _names() -> Sequence[str]:
    """As a kernel gives them: the first that is free."""
    return [f"eth{number}" for number in range(1000)]


def _interface(endpoint: Endpoint, device: str, version: int | None) -> dict[str, Any]:
    mine = endpoint.interface
    made: dict[str, Any] = {
        "device": device,
        "ipAddresses": [
            {"ipAddress": address, "netMask": length}
            for address, _, length in (each.partition("/") for each in mine.addresses)
            if ":" not in address
        ],
        "mtu": mine.mtu,
    }
    if version is None:
        return made | {"newDeviceName": mine.name, "macAddr": mine.mac}
    return made if device == mine.name else made | {"newDeviceName": mine.name}


def _route(route: Route, version: int | None) -> dict[str, Any]:
    made = {"dest": route.dest or "default", "device": route.device}
    if route.gateway:
        made["gateway"] = route.gateway
    if version is None and route.source:
        made["src"] = route.source
    return made
