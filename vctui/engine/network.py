"""A pod's network: namespace, networks joined, interfaces wired; and all of it taken away again.

What is about to be made stands in the pod's record first (`PodNetwork`), so that whoever comes
after a crash can take it away, whatever step it had come to. What lies in a namespace of the pod's
own goes with that; in one that was given, each thing is undone by itself.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from vctui.engine import endpoints, registry
from vctui.engine.context import Context
from vctui.errors import InvalidConfig, NetworkError, PermissionProblem, VctuiError
from vctui.linux import probe
from vctui.linux.problems import host_problem
from vctui.model.kinds import NetworkModel
from vctui.model.network import PodNetwork
from vctui.model.pod import PodConfig, PodRecord


def check(ctx: Context, config: PodConfig) -> None:
    """Look for what can be wrong before anything is made.

    Raises:
        PermissionProblem: networks need root.
        InvalidConfig: the given namespace is none, or the host's own.
        And what the network's driver finds.
    """
    if config.network_model is NetworkModel.NOOP:
        return
    if not probe.is_root():
        raise PermissionProblem(
            f"pod {config.id!r} wants a network ({config.network_model}), which needs root; run "
            "vctui as root, or set network_model to noop"
        )
    registry.network(config.network_model, ctx.settings).plan(config.network_config)
    if given := config.network_config.net_ns_path:
        _check_given(config.id, Path(given))


async def open_namespace(ctx: Context, record: PodRecord) -> Path | None:
    """Make the pod's namespace, or claim the one that it was given. None for a pod without.

    Raises:
        HostProblem, InvalidConfig, NetworkError: `close` takes away what was made.
    """
    config = record.config
    if config.network_model is NetworkModel.NOOP:
        return None
    from vctui.linux import netns

    check(ctx, config)
    given = config.network_config.net_ns_path
    path = Path(given) if given else ctx.paths(record.id).netns
    driver = registry.network(config.network_model, ctx.settings)
    planned = PodNetwork(
        namespace=str(path),
        created=not given,
        attachments=driver.plan(config.network_config),
    )
    endpoints.save(ctx, record.id, planned)
    _check_alone(ctx, record.id, path)
    _check_ports(ctx, record.id, planned)
    if not given:
        try:
            netns.create(path)
        except OSError as error:
            raise host_problem(error, f"make a network namespace for pod {record.id!r}") from error
    return path


async def connect(ctx: Context, pod_id: str, *, processors: int) -> PodNetwork:
    """Join the networks, look what is in the namespace by now, and wire it.

    Args:
        processors: of the machine.

    Raises:
        NetworkError, HostProblem, InvalidConfig: `close` takes away what was made.
    """
    record = ctx.store.pod(pod_id)
    for planned in endpoints.network_of(record).attachments:
        await endpoints.join(ctx, record, planned)
    endpoints.settle_dns(ctx, pod_id)
    for endpoint in await endpoints.discover(ctx, pod_id, processors=processors):
        await endpoints.wire(ctx, pod_id, endpoint)
    return endpoints.network_of(ctx.store.pod(pod_id))


async def close(ctx: Context, pod_id: str) -> None:
    """Leave the networks and take away everything that was made. Idempotent.

    Nothing of the machine may run any more. The record keeps what could not be taken away.

    Raises:
        NetworkError, HostProblem: of the first thing that could not be.
    """
    if pod_id not in ctx.store.pod_ids():
        return
    record = ctx.store.pod(pod_id)
    network = record.network
    if network is None:
        return
    from vctui.linux import netns

    path = Path(network.namespace)
    there = _is_there(path)
    failure: VctuiError | None = None
    if there:
        failure = await endpoints.give_back(pod_id, network)
    driver = registry.network(record.config.network_model, ctx.settings)
    try:
        await driver.remove(pod_id, path if there else None, network.attachments)
    except VctuiError as error:
        failure = failure or error
    if network.created:
        try:
            netns.remove(path)
        except OSError as error:
            failure = failure or host_problem(error, f"remove the network namespace {path}")
    if failure is not None:
        endpoints.save(ctx, pod_id, msgspec.structs.replace(network, failed=str(failure)))
        raise failure
    endpoints.save(ctx, pod_id, None)


def _check_given(pod_id: str, path: Path) -> None:
    from vctui.linux import netns

    key = f"network_config.net_ns_path of pod {pod_id!r}"
    try:
        is_one, is_own = netns.is_namespace(path), netns.is_own(path)
    except OSError as error:
        raise host_problem(error, f"use {path} ({key})", remedy="name one that is there") from error
    if not is_one:
        raise InvalidConfig(
            f"{path} ({key}) is no network namespace; name one, as `ip netns add` makes them in "
            "/run/netns"
        )
    if is_own:
        raise InvalidConfig(
            f"{path} ({key}) is the host's own network, whose interfaces the host needs itself; "
            "name another namespace, or leave it out"
        )


def _check_alone(ctx: Context, pod_id: str, path: Path) -> None:
    """One pod at a time uses a namespace: their interfaces would be each other's. Of two that
    have claimed it at once, neither gets it."""
    for other in ctx.store.pods():
        if other.id != pod_id and other.network and _same(Path(other.network.namespace), path):
            endpoints.save(ctx, pod_id, None)
            raise NetworkError(
                f"the network namespace {path} is used by pod {other.id!r}; stop that first, or "
                f"give pod {pod_id!r} another in network_config.net_ns_path"
            )


def _check_ports(ctx: Context, pod_id: str, planned: PodNetwork) -> None:
    """A port of the host leads to one pod: the packet filter has no word for a second one, which
    would hear nothing."""
    mine = [port for one in planned.attachments for port in one.ports]
    for other in ctx.store.pods() if mine else ():
        if other.id == pod_id or other.network is None:
            continue
        for theirs in (port for one in other.network.attachments for port in one.ports):
            if any(port.clashes(theirs) for port in mine):
                endpoints.save(ctx, pod_id, None)
                raise NetworkError(
                    f"the host's port {theirs.host_port}/{theirs.protocol} leads to pod "
                    f"{other.id!r}; stop that first, or give pod {pod_id!r} another in "
                    "network_config.port_mappings"
                )


def _same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _is_there(path: Path) -> bool:
    """Not after the host's reboot."""
    from vctui.linux import netns

    try:
        return netns.is_namespace(path)
    except OSError:
        return False
