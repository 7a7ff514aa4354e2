"""Networks of this host that pods can join by name: list, describe, make and remove them."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from vctui.drivers.networks import catalog
from vctui.drivers.networks.plugins import Plugins
from vctui.engine import paths
from vctui.engine.context import Context
from vctui.errors import AlreadyExists, HostProblem, InvalidInput, VctuiError, WrongState
from vctui.linux import files, iptables, probe
from vctui.linux.problems import host_problem
from vctui.model.hostnetwork import HostNetwork, HostPlugin, NetworkDetails
from vctui.model.network import Attachment
from vctui.wire.cni import bridge
from vctui.wire.cni.network import is_interface, is_name, parse_network

DEFAULT_NAME: Final = "vctui"
_BRIDGE: Final = "vctui0"
_FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "firewall", "backend": "iptables", "ingressPolicy": "same-bridge"},
)
"""`portmap` leads ports of the host to pods; `firewall` lets pods' packets pass on hosts whose
firewall forwards none by itself, and keeps those of other networks out."""


def networks(ctx: Context) -> tuple[tuple[HostNetwork, ...], tuple[str, ...]]:
    """The networks in the order of their files' names, and what is wrong with other files.

    Raises:
        FileProblem: the folder cannot be read.
    """
    known = _catalog(ctx)
    chosen = _default(ctx, known)
    found = tuple(_host_network(ctx, one, chosen) for one in known.listed)
    return found, tuple(str(problem) for problem in known.problems)


async def inspect(ctx: Context, name: str) -> NetworkDetails:
    """Raises NotFound, FileProblem."""
    known = _catalog(ctx)
    listed = known.choose(name)
    plugins = Plugins.of(ctx.settings.network)
    kinds = dict.fromkeys((*listed.network.types, *listed.network.ipam_types))
    return NetworkDetails(
        network=_host_network(ctx, listed, _default(ctx, known)),
        plugins=tuple(
            await asyncio.gather(*(_plugin(plugins, kind, listed.network.name) for kind in kinds))
        ),
        config=_document(listed.file),
    )


async def init(
    ctx: Context, name: str = "", *, subnets: Sequence[str] = (), link: str = ""
) -> tuple[HostNetwork, tuple[str, ...]]:
    """Make a network of a bridge; one that was made before stays as it is.

    Args:
        name: "" for `vctui`.
        subnets: "" for a free one of IPv4, and one of IPv6 where the host has that.
        link: name of the bridge; "" for one after the network.

    Returns:
        The network, and what an operator should know of it.

    Raises:
        AlreadyExists: a network of the name is there and is another than is asked for.
        InvalidInput, MissingProgram, PermissionProblem, HostProblem.
    """
    name = name or DEFAULT_NAME
    link = link or (_BRIDGE if name == DEFAULT_NAME else f"vc-{name}"[:15])
    if not is_name(name):
        raise InvalidInput(
            f"{name!r} is no name of a network; use letters, digits, '_', '.' and '-', beginning "
            "with a letter or digit"
        )
    if not is_interface(link):
        raise InvalidInput(
            f"{link!r} is no name of an interface; give --bridge one of up to 15 letters and digits"
        )
    wanted = _subnets(subnets)
    known = _catalog(ctx)
    for one in known.listed:
        if one.network.name == name:
            return _same(_host_network(ctx, one, _default(ctx, known)), wanted), ()
    _check_free(wanted, known)
    plugins = Plugins.of(ctx.settings.network)
    for kind in ("bridge", "host-local"):
        plugins.find(kind, network=name)
    notes: list[str] = []
    masquerade = await iptables.has_nat("iptables")
    if not masquerade:
        notes.append(
            "iptables cannot translate addresses here, so pods reach this host and each other but "
            "nothing beyond; install iptables and make the network anew"
        )
    subnets = wanted or await _free_subnets(known, masquerade=masquerade)
    document = bridge.bridge_network(
        name,
        bridge=link,
        subnets=subnets,
        leases=str(paths.leases_root(ctx.settings)),
        masquerade=masquerade,
        filters=_filters(plugins, name) if masquerade else (),
    )
    order = 10 if name == DEFAULT_NAME else 20  # the first of the folder is the default one
    file = known.folder / f"{order}-{name}.conflist"
    raw = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    parse_network(raw, source=str(file))
    try:
        known.folder.mkdir(0o755, parents=True, exist_ok=True)
        files.private_dir(paths.leases_root(ctx.settings))
        files.write_atomic(file, raw, mode=0o644)
    except OSError as error:
        raise host_problem(error, f"write the network file {file}") from error
    known = _catalog(ctx)
    return _host_network(ctx, known.choose(name), _default(ctx, known)), tuple(notes)


async def remove(ctx: Context, name: str) -> HostNetwork:
    """Undo `init`: the file, the bridge, the folder of addresses.

    Raises:
        NotFound.
        WrongState: pods are on it.
        InvalidInput: somebody else has made it.
    """
    known = _catalog(ctx)
    listed = known.choose(name)
    found = _host_network(ctx, listed, _default(ctx, known))
    if found.pods:
        raise WrongState(
            f"network {name!r} is used by {', '.join(found.pods[:5])}; stop these pods first"
        )
    if not found.made_here:
        raise InvalidInput(
            f"network {name!r} was not made by `{bridge.MADE_HERE}`; remove its file "
            f"{listed.file} yourself"
        )
    try:
        listed.file.unlink(missing_ok=True)
        if await asyncio.to_thread(_remove_bridge, found.bridge):
            await iptables.forget_link(found.bridge)
    except OSError as error:
        raise host_problem(error, f"remove network {name!r}") from error
    leases = paths.leases_root(ctx.settings) / name
    with suppress(OSError):  # an address that is taken by somebody keeps it
        for note in ("lock", *(entry.name for entry in leases.glob("last_reserved_ip.*"))):
            (leases / note).unlink(missing_ok=True)
        leases.rmdir()
    return found


def _catalog(ctx: Context) -> catalog.Catalog:
    return catalog.read(Path(ctx.settings.network.config_dir))


def _default(ctx: Context, known: catalog.Catalog) -> str:
    """Name of the network that pods join which name none; "" where there is none."""
    try:
        return known.choose(ctx.settings.network.default).network.name
    except VctuiError:
        return ""


def _host_network(ctx: Context, listed: catalog.Listed, default: str) -> HostNetwork:
    network = listed.network
    return HostNetwork(
        name=network.name,
        file=str(listed.file),
        cni_version=network.cni_version,
        plugins=network.types,
        bridge=bridge.bridge_of(network),
        subnets=bridge.subnets_of(network),
        default=network.name == default,
        made_here=bridge.is_made_here(_document(listed.file)),
        pods=tuple(
            record.id
            for record in ctx.store.pods()
            if any(one.network == network.name for one in _attachments(record.network))
        ),
    )


def _document(file: Path) -> dict[str, Any]:
    """The file that was just read and found good; empty where it has changed since."""
    try:
        document = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return {}
    return document if isinstance(document, dict) else {}


async def _plugin(plugins: Plugins, kind: str, network: str) -> HostPlugin:
    try:
        path = plugins.find(kind, network=network)
        versions = await plugins.versions(kind, network=network)
    except VctuiError as error:
        return HostPlugin(name=kind, problem=str(error))
    return HostPlugin(name=kind, path=str(path), versions=versions)


def _subnets(texts: Sequence[str]) -> tuple[str, ...]:
    found = [_subnet(text) for text in texts]
    for one, other in itertools.combinations(found, 2):
        if one.overlaps(other):
            raise InvalidInput(f"the subnets {one} and {other} overlap; leave one of them out")
    return tuple(str(one) for one in found)


def _subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is no subnet ({error}); write one like 10.88.0.0/16 or fd00:1::/64"
        ) from error
    if network.num_addresses < 4:
        raise InvalidInput(
            f"the subnet {text} is too small for pods; use one with a shorter prefix"
        )
    return network


def _same(there: HostNetwork, subnets: tuple[str, ...]) -> HostNetwork:
    if subnets and set(subnets) != set(there.subnets):
        raise AlreadyExists(
            f"network {there.name!r} is there already, with {', '.join(there.subnets) or 'others'} "
            f"({there.file}); remove it first, or choose another name"
        )
    return there


def _check_free(wanted: Sequence[str], known: catalog.Catalog) -> None:
    """A network in the way of another could not be reached. Raises InvalidInput."""
    for text in wanted:
        for one in known.listed:
            for taken in bridge.subnets_of(one.network):
                if _subnet(text).overlaps(ipaddress.ip_network(taken, strict=False)):
                    raise InvalidInput(
                        f"the subnet {text} overlaps {taken} of network {one.network.name!r}; "
                        "choose another, or remove that network first"
                    )


async def _free_subnets(known: catalog.Catalog, *, masquerade: bool) -> tuple[str, ...]:
    taken = [subnet for one in known.listed for subnet in bridge.subnets_of(one.network)]
    taken += await asyncio.to_thread(_used_here)
    free = bridge.free_subnet(taken)
    if free is None:
        raise HostProblem("no private subnet is free on this host; name one with --subnet")
    if probe.has_ipv6() and (not masquerade or await iptables.has_nat("ip6tables")):
        return (free, bridge.unique_local_subnet(os.urandom(5)))
    return (free,)


def _used_here() -> list[str]:
    """Networks that this host has addresses in or routes to."""
    from vctui.linux.links import Links

    with Links() as net:
        addresses = [address for link in net.all() for address in link.addresses]
        return [*addresses, *(route.dest for route in net.routes())]


def _remove_bridge(name: str) -> bool:
    """Where nobody is connected to it; whether there is no such bridge now."""
    from vctui.linux.links import Links

    with Links() as net:
        links = net.all()
        found = next((one for one in links if one.name == name and one.kind == "bridge"), None)
        if found is None:
            return True
        if any(one.master == found.index for one in links):
            return False
        net.delete(name)
        return True


def _filters(plugins: Plugins, network: str) -> list[dict[str, Any]]:
    """As far as they are installed."""
    found = []
    for one in _FILTERS:
        with suppress(VctuiError):
            plugins.find(one["type"], network=network)
            found.append(one)
    return found


def _attachments(network: Any) -> Sequence[Attachment]:
    return network.attachments if network else ()
