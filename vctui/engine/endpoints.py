"""Steps of a pod's network, one by one: join, look, wire, plug, and each undone.

Each stands in the pod's record before it is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from vctui.engine import registry
from vctui.engine.context import Context
from vctui.errors import VctuiError, WrongState
from vctui.linux.problems import host_problem
from vctui.model.events import EventKind
from vctui.model.network import Attachment, Dns, Endpoint, PodNetwork
from vctui.model.pod import PodRecord
from vctui.wire import resolver

RESOLVER: Final = Path("/etc/resolv.conf")
"""Of the host: for pods whose networks name no name servers."""


def network_of(record: PodRecord) -> PodNetwork:
    """Raises WrongState for a pod without."""
    if record.network is None:
        raise WrongState(
            f"pod {record.id!r} has no network; set network_model in its pod file to CNI or CNM "
            "and make it anew"
        )
    return record.network


def save(ctx: Context, pod_id: str, network: PodNetwork | None) -> None:
    with ctx.store.transaction() as tx:
        tx.save_pod(msgspec.structs.replace(tx.pod(pod_id), network=network))


async def join(ctx: Context, record: PodRecord, planned: Attachment) -> None:
    """Join one network that stands in the record already. Raises NetworkError."""
    driver = registry.network(record.config.network_model, ctx.settings)
    current = network_of(ctx.store.pod(record.id))
    joined = await driver.prepare(record.id, Path(current.namespace), (planned,))
    attachments = list(current.attachments)
    place = attachments.index(planned)
    attachments[place : place + 1] = joined
    save(ctx, record.id, msgspec.structs.replace(current, attachments=tuple(attachments)))


def settle_dns(ctx: Context, pod_id: str) -> None:
    """Of the first network that names servers; else the host's, where others reach them, too."""
    current = network_of(ctx.store.pod(pod_id))
    named = (one.dns for one in current.attachments if one.dns.nameservers)
    dns = next(named, None) or _of_host()
    save(ctx, pod_id, msgspec.structs.replace(current, dns=dns))


async def discover(ctx: Context, pod_id: str, *, processors: int) -> tuple[Endpoint, ...]:
    """Endpoints for the interfaces of the namespace that have none yet.

    Raises:
        NetworkError, InvalidConfig, HostProblem
    """
    from vctui.drivers.endpoints import scan
    from vctui.linux import netns

    record = ctx.store.pod(pod_id)
    current = network_of(record)
    with _refusals(f"look into the network namespace of pod {pod_id!r}"):
        view = await netns.call(Path(current.namespace), scan.look)
    found = scan.endpoints(
        view,
        record.config.network_config,
        processors=processors,
        known=current.endpoints,
        wire=lambda one, taken: registry.wiring(one).plan(one, taken),
    )
    everything = (*current.endpoints, *found)
    added = msgspec.structs.replace(
        current,
        endpoints=everything,
        routes=scan.routes(view, everything),
        neighbors=scan.neighbors(view, everything),
    )
    if record.machine is not None:
        pending = dict.fromkeys((*current.pending, *(one.interface.name for one in found)))
        added = msgspec.structs.replace(added, pending=tuple(pending))
    save(ctx, pod_id, added)
    return found


async def wire(ctx: Context, pod_id: str, endpoint: Endpoint) -> None:
    """Raises HostProblem."""
    from vctui.linux import netns

    path = Path(network_of(ctx.store.pod(pod_id)).namespace)
    with _refusals(f"connect interface {endpoint.interface.name!r} of pod {pod_id!r}"):
        await netns.call(path, registry.wiring(endpoint).connect, endpoint)


async def plug(ctx: Context, pod_id: str, endpoint: Endpoint) -> None:
    """Give the running machine a card for the endpoint. Raises HypervisorError, HostProblem."""
    record = ctx.store.pod(pod_id)
    if record.machine is None:
        return
    place = await ctx.hypervisor(record).plug_network(
        ctx.paths(pod_id).run, record.machine, Path(network_of(record).namespace), endpoint
    )
    current = network_of(ctx.store.pod(pod_id))
    plugged = msgspec.structs.replace(endpoint, pci_path=place.pci_path)
    changed = (plugged if one.id == endpoint.id else one for one in current.endpoints)
    save(ctx, pod_id, msgspec.structs.replace(current, endpoints=tuple(changed)))


async def plug_all(ctx: Context, pod_id: str) -> PodNetwork:
    """For a machine that could not have them from its start."""
    for endpoint in network_of(ctx.store.pod(pod_id)).endpoints:
        await plug(ctx, pod_id, endpoint)
    return network_of(ctx.store.pod(pod_id))


def note_left_out(ctx: Context, pod_id: str, what: str) -> None:
    """Of a network that the guest's agent could not be told all of."""
    if what:
        ctx.note(
            EventKind.WARNING, pod_id, f"the agent cannot be told of {what}; the guest has none"
        )


async def give_back(pod_id: str, network: PodNetwork) -> VctuiError | None:
    """Leave a namespace that was given as it was, and the host its network cards; gives the first
    thing that failed. All else goes with a namespace of the pod's own."""
    failure: VctuiError | None = None
    for endpoint in reversed(network.endpoints):
        if network.created and endpoint.physical is None:
            continue
        try:
            await _unwire(pod_id, network, endpoint)
        except VctuiError as error:
            failure = failure or error
    if network.created:
        return failure
    try:
        await _restore(pod_id, network)
    except VctuiError as error:
        failure = failure or error
    return failure


async def finish(ctx: Context, pod_id: str) -> None:
    """Disconnect the interfaces that are pending, whatever was made of them. Idempotent.

    Raises:
        HypervisorError, NetworkError, HostProblem: they stay pending.
    """
    record = ctx.store.pod(pod_id)
    current = record.network
    if current is None or not current.pending:
        return
    gone = [one for one in current.endpoints if one.interface.name in current.pending]
    left = [one for one in current.attachments if one.interface in current.pending]
    for endpoint in reversed(gone):
        if record.machine is not None:
            await ctx.hypervisor(record).unplug_network(
                ctx.paths(pod_id).run, record.machine, endpoint
            )
        await _unwire(pod_id, current, endpoint)
    await _restore(pod_id, current)
    driver = registry.network(record.config.network_model, ctx.settings)
    await driver.remove(pod_id, Path(current.namespace), left)
    names = {one.interface.name for one in gone}
    rest = msgspec.structs.replace(
        current,
        attachments=tuple(one for one in current.attachments if one not in left),
        endpoints=tuple(one for one in current.endpoints if one not in gone),
        routes=tuple(one for one in current.routes if one.device not in names),
        neighbors=tuple(one for one in current.neighbors if one.device not in names),
        pending=(),
    )
    save(ctx, pod_id, rest)


async def _unwire(pod_id: str, network: PodNetwork, endpoint: Endpoint) -> None:
    from vctui.linux import netns

    with _refusals(f"disconnect interface {endpoint.interface.name!r} of pod {pod_id!r}"):
        await netns.call(Path(network.namespace), registry.wiring(endpoint).disconnect, endpoint)


async def _restore(pod_id: str, network: PodNetwork) -> None:
    """Routes that went with addresses."""
    from vctui.drivers.endpoints import scan
    from vctui.linux import netns

    with _refusals(f"restore the routes in the network namespace of pod {pod_id!r}"):
        await netns.call(Path(network.namespace), scan.restore, network.routes)


def _of_host() -> Dns:
    try:
        return resolver.parse(RESOLVER.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return Dns()


@contextlib.contextmanager
def _refusals(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise host_problem(error, doing) from error
