"""Networks of this host that pods can join by name (CNI), as `vctui network` shows them."""

from __future__ import annotations

from typing import Any

import msgspec


class HostNetwork(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    file: str
    """The file that it stands in."""
    cni_version: str
    plugins: tuple[str, ...]
    """In the order of their turn."""
    bridge: str = ""
    """The link that pods are connected to; "" where the network has none, or does not say."""
    subnets: tuple[str, ...] = ()
    """Where its pods get addresses from, as far as the file says."""
    default: bool = False
    """Whether pods that name no network join it."""
    made_here: bool = False
    """Whether `vctui network init` has made it, so that `vctui network remove` may remove it."""
    pods: tuple[str, ...] = ()
    """Ids of our pods that are on it now."""


class HostPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A program that makes networks."""

    name: str
    path: str = ""
    versions: tuple[str, ...] = ()
    """Of the CNI specification that it says it knows."""
    problem: str = ""
    """Why it cannot be used; "" where it can."""


class NetworkDetails(msgspec.Struct, frozen=True, kw_only=True):
    network: HostNetwork
    plugins: tuple[HostPlugin, ...]
    """Those of the file, then those that they call for addresses."""
    config: dict[str, Any]
    """The file's document."""
