"""What plugins are told of a pod beyond its network's file (CNI: capabilities). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vctui.model.network import Bandwidth, NetworkConfig
from vctui.model.networkkeys import MAX_BURST
from vctui.wire.cni.network import NetworkList

KEYS: Final = {
    "portMappings": "port_mappings",
    "ips": "ips",
    "mac": "mac",
    "bandwidth": "bandwidth",
}
"""By capability, the key of `network_config` that its value comes from."""
PLUGINS: Final = {
    "portMappings": "portmap",
    "ips": "static",
    "mac": "tuning",
    "bandwidth": "bandwidth",
}
"""By capability, the plugin that usually has it."""


def wanted(config: NetworkConfig) -> dict[str, Any]:
    """The values that a pod asks for, by capability."""
    values: dict[str, Any] = {
        "portMappings": [
            {
                "hostPort": one.host_port,
                "containerPort": one.container_port,
                "protocol": str(one.protocol),
                **({"hostIP": one.host_ip} if one.host_ip else {}),
            }
            for one in config.port_mappings
        ],
        "ips": list(config.ips),
        "mac": config.mac,
        "bandwidth": _bandwidth(config.bandwidth),
    }
    return {name: value for name, value in values.items() if value}


def missing(network: NetworkList, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of `given` that no plugin of the network takes."""
    offered = {
        name
        for plugin in network.plugins
        for name, is_taken in plugin.get("capabilities", {}).items()
        if is_taken is True
    }
    return tuple(name for name in given if name not in offered)


def _bandwidth(wanted: Bandwidth) -> dict[str, int]:
    found = {}
    for way in ("ingress", "egress"):
        if rate := getattr(wanted, f"{way}_rate"):
            found[f"{way}Rate"] = rate
            found[f"{way}Burst"] = getattr(wanted, f"{way}_burst") or min(rate, MAX_BURST)
    return found
