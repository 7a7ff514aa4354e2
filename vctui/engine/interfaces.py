"""A running pod's interfaces: looked at, connected and disconnected while its machine runs.

What is under way stands in the record (`PodNetwork.pending`). A change that fails or was cut off
ends by the interfaces that it was about being disconnected, whatever step it had come to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vctui.engine import endpoints, registry
from vctui.engine.change import change, shared
from vctui.engine.context import Context, event
from vctui.errors import AgentError, InvalidConfig, NotFound, VctuiError, WrongState
from vctui.model.events import EventKind
from vctui.model.kinds import NetworkModel
from vctui.model.network import Attachment, NetworkConfig
from vctui.model.pod import PodRecord
from vctui.model.state import State, check_state


async def connect(ctx: Context, pod_id: str, name: str = "") -> None:
    """Give a running pod the interfaces that its namespace has and the machine has not.

    Args:
        name: CNI: of a network that the pod joins first; "" for the host's default.

    Raises:
        WrongState: the pod does not run, has no network, or there is nothing to be connected.
        NetworkError, HypervisorError, AgentError: the pod is as it was before.
    """
    async with change(ctx, pod_id, "connect", _check_running):
        await endpoints.finish(ctx, pod_id)
        record = ctx.store.pod(pod_id)
        before = endpoints.network_of(record)
        driver = registry.network(record.config.network_model, ctx.settings)
        config = NetworkConfig(networks=(name,) if name else ())
        if name and record.config.network_model is not NetworkModel.CNI:
            raise InvalidConfig(
                f"pod {pod_id!r} has network_model {record.config.network_model}, where networks "
                "have no names; put an interface into its namespace and leave the name out"
            )
        taken = tuple(one.interface.name for one in before.endpoints)
        planned = driver.plan(config, taken)
        endpoints.save(
            ctx,
            pod_id,
            msgspec.structs.replace(
                before,
                attachments=(*before.attachments, *planned),
                pending=tuple(one.interface for one in planned),
            ),
        )
        try:
            await _connect(ctx, record, planned)
        except BaseException:
            with contextlib.suppress(VctuiError):
                await endpoints.finish(ctx, pod_id)
            raise
        _done(ctx, pod_id, EventKind.NETWORK_CONNECTED)


async def disconnect(ctx: Context, pod_id: str, interface: str) -> None:
    """Take an interface away from a running pod, and leave the network that made it. One that
    somebody else has put into the namespace stays there.

    Raises:
        WrongState: the pod does not run, or has no network.
        NotFound: it has no such interface.
        NetworkError, HypervisorError: it cannot be; it may be tried again.
    """
    async with change(ctx, pod_id, "disconnect", _check_running) as record:
        await endpoints.finish(ctx, pod_id)
        before = endpoints.network_of(ctx.store.pod(pod_id))
        known = [one.interface.name for one in before.endpoints]
        if interface not in known:
            raise NotFound(
                f"pod {pod_id!r} has no interface {interface!r}; it has "
                f"{', '.join(known) or 'none'}"
            )
        endpoints.save(ctx, pod_id, msgspec.structs.replace(before, pending=(interface,)))
        with contextlib.suppress(AgentError):  # it goes whatever the agent thinks of it
            async with ctx.agent(record) as agent:
                await agent.forget_interface(interface)
        await endpoints.finish(ctx, pod_id)
        _done(ctx, pod_id, EventKind.NETWORK_DISCONNECTED)


async def verify(ctx: Context, pod_id: str) -> None:
    """Ask the network's driver whether all is as it left it (CNI: CHECK), and the wiring whether
    what it relies on is there.

    Raises:
        NotFound, NetworkError: it is not.
    """
    async with shared(ctx, pod_id) as record:
        if record.network is not None:
            driver = registry.network(record.config.network_model, ctx.settings)
            namespace = Path(record.network.namespace)
            await driver.check(
                pod_id, namespace, record.network.attachments, record.network.endpoints
            )
            for endpoint in record.network.endpoints:
                registry.wiring(endpoint).check(endpoint)


async def _connect(ctx: Context, record: PodRecord, planned: Sequence[Attachment]) -> None:
    for one in planned:
        await endpoints.join(ctx, record, one)
    processors = record.machine.vcpus if record.machine else 1
    found = await endpoints.discover(ctx, record.id, processors=processors)
    if not found:
        raise WrongState(
            f"the network namespace of pod {record.id!r} has no interface that the pod has not; "
            "put one with an address into it first"
        )
    for endpoint in found:
        await endpoints.wire(ctx, record.id, endpoint)
        await endpoints.plug(ctx, record.id, endpoint)
    async with ctx.agent(record) as agent:
        network = endpoints.network_of(ctx.store.pod(record.id))
        await agent.update_network(network)
        endpoints.note_left_out(ctx, record.id, agent.left_out(network))


def _check_running(record: PodRecord) -> None:
    check_state("pod", record.id, record.state, frozenset({State.RUNNING}), "change the network of")
    endpoints.network_of(record)


def _done(ctx: Context, pod_id: str, kind: EventKind) -> None:
    with ctx.store.transaction() as tx:
        current = tx.pod(pod_id)
        now = endpoints.network_of(current)
        names = ", ".join(one.interface.name for one in now.endpoints) or "none"
        tx.save_pod(
            msgspec.structs.replace(
                current, operation="", network=msgspec.structs.replace(now, pending=())
            )
        )
        tx.emit(event(kind, pod_id, f"interfaces: {names}"))
