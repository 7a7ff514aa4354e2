"""What `network_config` must be beyond its types. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from vctui.errors import InvalidConfig
from vctui.model.kinds import NetInterworkingModel, NetworkModel
from vctui.model.network import Bandwidth, NetworkConfig, PortMapping

MAX_INTERFACES: Final = 8
"""Network cards that a machine has room for besides its other devices."""
MAX_PORTS: Final = 256
"""Mappings of a pod; the host's packet filter has a few rules for each."""
MAX_BURST: Final = 2**32 * 8 - 1
"""Bits; of the CNI plugin `bandwidth`."""
_LAST_PORT: Final = 65535
_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\Z")
_OF_CNI: Final = ("networks", "port_mappings", "ips", "mac", "bandwidth")
_WHERE: Final = "network_config."


def check(model: NetworkModel, wanted: NetworkConfig) -> None:
    """
    Raises:
        InvalidConfig: with the key's path.
    """
    if model is NetworkModel.NOOP:
        if wanted != NetworkConfig():
            raise InvalidConfig(
                "network_config has no effect while network_model is noop; set that to CNI or CNM, "
                "or leave network_config out"
            )
        return
    if wanted.net_ns_path and not wanted.net_ns_path.startswith("/"):
        raise InvalidConfig(
            f"{_WHERE}net_ns_path {wanted.net_ns_path!r} is not absolute; begin it with '/'"
        )
    if not 0 <= wanted.num_interfaces <= MAX_INTERFACES:
        raise InvalidConfig(
            f"{_WHERE}num_interfaces is {wanted.num_interfaces} but can be 0, for all, to "
            f"{MAX_INTERFACES}"
        )
    if wanted.interworking_model is NetInterworkingModel.INVALID:
        words = ", ".join(one for one in NetInterworkingModel if one != "invalid")
        raise InvalidConfig(f"{_WHERE}interworking_model is invalid; use one of {words}")
    if len(wanted.networks) > MAX_INTERFACES or "" in wanted.networks:
        raise InvalidConfig(
            f"{_WHERE}networks must be at most {MAX_INTERFACES} names that are not empty; "
            "correct it"
        )
    if model is NetworkModel.CNI:
        _check_ports(wanted.port_mappings)
        _check_addresses(wanted)
        _check_bandwidth(wanted.bandwidth)
        return
    nothing = NetworkConfig()
    for key in _OF_CNI:
        if getattr(wanted, key) != getattr(nothing, key):
            raise InvalidConfig(
                f"{_WHERE}{key} is for plugins of CNI, but network_model is {model}, where the "
                "namespace is filled by somebody else; leave it out, or set network_model to CNI"
            )


def _check_ports(mappings: tuple[PortMapping, ...]) -> None:
    if len(mappings) > MAX_PORTS:
        raise InvalidConfig(f"{_WHERE}port_mappings has more than {MAX_PORTS} entries; leave some")
    for index, one in enumerate(mappings):
        where = f"{_WHERE}port_mappings[{index}]."
        for key in ("host_port", "container_port"):
            if not 1 <= getattr(one, key) <= _LAST_PORT:
                raise InvalidConfig(
                    f"{where}{key} is {getattr(one, key)} but can be 1 to {_LAST_PORT}"
                )
        if one.host_ip and not _is_address(one.host_ip):
            raise InvalidConfig(
                f"{where}host_ip {one.host_ip!r} is no address of the host; write one like "
                "192.0.2.1, or leave it out for all"
            )
        for before, other in enumerate(mappings[:index]):
            if one.clashes(other):
                raise InvalidConfig(
                    f"{_WHERE}port_mappings[{index}] takes the host's port "
                    f"{one.host_port}/{one.protocol}, as port_mappings[{before}] does; "
                    "choose another"
                )


def _check_addresses(wanted: NetworkConfig) -> None:
    for one in wanted.ips:
        try:
            ipaddress.ip_interface(one)
        except ValueError:
            raise InvalidConfig(
                f"{_WHERE}ips has {one!r}, which is no address; write one like 10.88.0.7 or "
                "10.88.0.7/16"
            ) from None
    if wanted.mac and (not _MAC.match(wanted.mac) or int(wanted.mac[:2], 16) & 1):
        raise InvalidConfig(
            f"{_WHERE}mac {wanted.mac!r} is no hardware address of one interface; write one like "
            "02:00:00:00:00:07"
        )


def _check_bandwidth(wanted: Bandwidth) -> None:
    for way in ("ingress", "egress"):
        rate, burst = (getattr(wanted, f"{way}_{what}") for what in ("rate", "burst"))
        if rate < 0 or not 0 <= burst <= MAX_BURST:
            raise InvalidConfig(
                f"{_WHERE}bandwidth.{way}_rate and {way}_burst are bits, and cannot be negative; "
                f"the burst can be {MAX_BURST} at most"
            )
        if burst and not rate:
            raise InvalidConfig(
                f"{_WHERE}bandwidth.{way}_burst has no effect without {way}_rate; give that, too"
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
