"""The size of a pod's machine: what it was started with, and what containers that came later need.

Containers of the pod's configuration share the size that `vm_config` says. Each that was added
later and runs brings what its limits say: processors for its quota, memory for its limit.
Processors go with it when it stops, where the machine can give them back; memory stays, as guests
seldom let go of it, and serves the next one (behaviour sheet §1.15, §3.3, §4.5).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection
from fractions import Fraction
from typing import Final

import msgspec

from vctui.drivers.agents.base import Agent
from vctui.drivers.hypervisors.base import Size
from vctui.engine.context import Context
from vctui.errors import HypervisorError, MachineDied, VctuiError
from vctui.model.events import EventKind
from vctui.model.hypervisor import Machine
from vctui.model.linux import PERIOD
from vctui.model.pod import PodRecord
from vctui.model.state import LIVE, State

_MIB: Final = 1024 * 1024


def wanted(record: PodRecord, machine: Machine, starting: Collection[str] = ()) -> Size:
    """Pure: the size for what runs in the pod, and what is about to.

    The processors are not more than the machine takes; memory can be.
    """
    first = {one.id for one in record.config.containers}
    later = [
        one.config.resources
        for one in record.containers
        if one.id not in first and (one.state in LIVE or one.id in starting)
    ]
    shares = (Fraction(max(one.cpu_quota, 0), one.cpu_period or PERIOD) for one in later)
    vcpus = max(machine.boot_vcpus, machine.least_vcpus) + math.ceil(sum(shares))
    if machine.keeps_vcpus:
        vcpus = max(vcpus, machine.vcpus)
    memory = max(machine.boot_memory, machine.least_memory)
    memory += sum(-(-one.memory_limit // _MIB) for one in later)
    return Size(vcpus=min(vcpus, max(machine.max_vcpus, machine.boot_vcpus)), memory=memory)


async def fit(
    ctx: Context,
    pod_id: str,
    agent: Agent | None = None,
    *,
    starting: Collection[str] = (),
    certain: bool = False,
) -> None:
    """Make the machine as large as its containers need, and have the guest use it.

    Args:
        agent: tells the guest; not needed for a machine that does not grow.
        starting: ids of containers that are about to run.
        certain: look what the machine has, whatever the record says.

    Raises:
        HypervisorError: the host or the machine has not so much; what was plugged in stands in the
            record.
        AgentError: the guest does not take it.
    """
    record = ctx.store.pod(pod_id)
    machine = record.machine
    if machine is None or not machine.max_vcpus or record.state is State.PAUSED:
        return
    hypervisor, run_dir = ctx.hypervisor(record), ctx.paths(pod_id).run
    if certain:
        machine = _remember(ctx, pod_id, await hypervisor.size(run_dir, machine))
    size = wanted(record, machine, starting)
    before = machine.vcpus
    if size.vcpus != machine.vcpus or size.memory > machine.memory:
        machine = await _resize(ctx, record, machine, size)
    grew = machine.vcpus > machine.boot_vcpus or machine.memory > machine.boot_memory
    if agent is not None and grew:  # also where an engine was killed before it could say so
        await agent.online(vcpus=machine.vcpus, plugged=max(0, machine.vcpus - before))


async def _resize(ctx: Context, record: PodRecord, machine: Machine, size: Size) -> Machine:
    pod_id, run_dir = record.id, ctx.paths(record.id).run
    hypervisor = ctx.hypervisor(record)
    if size.memory > max(machine.max_memory, machine.memory):
        raise HypervisorError(
            f"pod {pod_id!r} would need {size.memory} MiB for its containers, but its machine can "
            f"have {max(machine.max_memory, machine.memory)} MiB on this host; give the container "
            "a lower memory_limit"
        )
    try:
        has = await hypervisor.resize(run_dir, machine, record.config.hypervisor_config, size)
    except HypervisorError:
        with contextlib.suppress(HypervisorError):
            _remember(ctx, pod_id, await hypervisor.size(run_dir, machine))
        raise
    if has != Size(vcpus=machine.vcpus, memory=machine.memory):
        said = f"{has.vcpus} virtual CPUs, {has.memory} MiB"
        ctx.note(EventKind.POD_RESIZED, pod_id, said)
    return _remember(ctx, pod_id, has)


async def give_back(ctx: Context, pod_id: str, *, certain: bool = False) -> None:
    """As `fit`, after a container has gone: what cannot be had back stays, and is told."""
    try:
        await fit(ctx, pod_id, certain=certain)
    except VctuiError as error:
        ctx.note(EventKind.WARNING, pod_id, f"the machine keeps its size: {error}")


def _remember(ctx: Context, pod_id: str, size: Size) -> Machine:
    with ctx.store.transaction() as tx:
        current = tx.pod(pod_id)
        if current.machine is None:
            raise MachineDied(f"the machine of pod {pod_id!r} has ended; start the pod again")
        machine = msgspec.structs.replace(current.machine, vcpus=size.vcpus, memory=size.memory)
        tx.save_pod(msgspec.structs.replace(current, machine=machine))
    return machine
