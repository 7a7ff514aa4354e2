"""What others left half done, and machines that died while nobody looked.

Everything that a pod has on the host can be found from the name of its folder:
processes carry it as an argument, mounts and sockets lie in it. So no journal of steps is
needed: what a crashed engine made is found and removed, whatever step it had come to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from vctui.drivers.proxies.base import ProxyHandle
from vctui.engine import devices, endpoints, images, network, paths, pool, resources
from vctui.engine.context import Context, event, now
from vctui.engine.shelf import Shelf
from vctui.errors import AgentUnreachable, MachineDied, MonitorError, NotFound, VctuiError
from vctui.linux import locks, mounts, process, trees
from vctui.linux.files import tail
from vctui.linux.problems import host_problem
from vctui.model import state
from vctui.model.container import ContainerRecord
from vctui.model.events import EventKind
from vctui.model.hypervisor import Machine
from vctui.model.pod import PodRecord
from vctui.model.state import State

log = logging.getLogger(__name__)

LIVE = state.LIVE
_ENDS = 3.0
"""Seconds for a machine to end after its agent's connection, or with what it cannot do without."""
_TELLS = 5.0
"""Seconds that a monitor may take to write how its machine ended; then it ends itself."""
_FROZEN = frozenset({"pause", "resume"})
NETWORK_CHANGES = frozenset({"connect", "disconnect"})
_WHOLE_POD = frozenset({"start", "run", "stop", "restart"})


def needs_settling(ctx: Context, record: PodRecord) -> bool:
    """Whether something about the pod does not fit; cheap enough for every pod at every start."""
    if record.operation or _has_stale_network(record):
        return True
    if record.state not in LIVE or record.machine is None:
        return False
    machine_lives = ctx.hypervisor(record).alive(record.machine)
    monitor_lives = ctx.proxy(record).alive(record.monitor_pid, record.monitor_started)
    return not (machine_lives and monitor_lives)


async def settle(ctx: Context, pod_id: str) -> PodRecord:
    """Bring a pod into a state that the API knows. The caller holds its lock alone.

    Raises:
        NotFound: there is no such pod, or its deletion was completed here.
    """
    record = ctx.store.pod(pod_id)
    if record.operation:
        record = await _finish_interrupted(ctx, record)
    if record.state in LIVE and record.machine is not None:
        if not ctx.hypervisor(record).alive(record.machine):
            record = await _told_by_monitor(ctx, record)
            if record.state in LIVE:
                record = await _machine_is_gone(ctx, record)
        elif not ctx.proxy(record).alive(record.monitor_pid, record.monitor_started):
            record = await _adopt(ctx, record)
    if _has_stale_network(record):
        try:
            await network.close(ctx, pod_id)
        except VctuiError as error:
            ctx.note(EventKind.WARNING, pod_id, f"something is left: {error}")
        record = ctx.store.pod(pod_id)
    return record


def _has_stale_network(record: PodRecord) -> bool:
    """The monitor has noted that the machine ended; networks are for engines to leave. One that
    cannot be left is not tried again by everybody who only looks at the pod."""
    return record.network is not None and record.state not in LIVE and not record.network.failed


async def sweep(ctx: Context) -> None:
    """Settle every pod that nobody is working on, and remove what belongs to no pod."""
    if ctx.read_only:
        return
    pending = [record.id for record in ctx.store.pods() if needs_settling(ctx, record)]
    await asyncio.gather(*(_settle_if_free(ctx, pod_id) for pod_id in pending))
    await images.sweep(ctx)
    await sweep_pool(ctx)
    await Shelf(ctx.settings).sweep()
    known = set(ctx.store.pod_ids())
    for root in (
        paths.pods_root(ctx.settings),
        paths.rootfs_root(ctx.settings),
        paths.locks_root(ctx.settings),
    ):
        try:
            found = [entry.name for entry in root.iterdir()]
        except FileNotFoundError:
            continue
        for name in found:
            if name not in known:
                await _remove_orphan(ctx, name)


async def sweep_pool(ctx: Context) -> None:
    """End ready guests that nobody can use, and what killed fillers left. One who fills the pool
    does so, too."""
    waiting = pool.Pool(ctx.settings)
    async with waiting.alone() as mine:
        if mine:
            await waiting.tidy(lambda each: is_usable(ctx, each))


def is_usable(ctx: Context, ready: pool.Ready) -> bool:
    """Whether the guest lives and is what its template would make today."""
    shelf = Shelf(ctx.settings)
    if shelf.get(ready.key) is None or not process.is_alive(
        ready.machine.pid, ready.machine.pid_started
    ):
        return False
    shelf.touch(ready.key)  # what waits in the pool uses its template
    return True


async def reclaim(ctx: Context, pod_id: str, *, keep_logs: bool) -> None:
    """End every process of the pod, leave its networks, undo its mounts, remove its sockets.
    Idempotent.

    Raises:
        NetworkError, HostProblem: a network cannot be left; all else was done.
    """
    at = ctx.paths(pod_id)
    left = [
        found
        for folder in pool.folders_of(ctx.settings, at)
        for found in process.find_by_argument(folder)
    ]
    await asyncio.gather(
        *(process.terminate(found.pid, found.started, timeout=2.0) for found in left)
    )
    try:
        await network.close(ctx, pod_id)
    finally:
        mounts.unmount_below(at.run)
        if keep_logs:
            for entry in sorted(at.run.glob("*")):
                if entry != at.logs and entry.suffix != ".log":
                    _remove(entry)
        else:
            _remove(at.run)


async def reclaim_what_can_be(ctx: Context, pod_id: str) -> None:
    """As `reclaim`, keeping the logs. A network that cannot be left is noted, and stays in the
    pod's record for the next time."""
    try:
        await reclaim(ctx, pod_id, keep_logs=True)
    except VctuiError as error:
        ctx.note(EventKind.WARNING, pod_id, f"something is left: {error}")


async def _settle_if_free(ctx: Context, pod_id: str) -> None:
    try:
        async with locks.try_exclusive(ctx.paths(pod_id).lock) as mine:
            if mine:
                await settle(ctx, pod_id)
    except NotFound:
        pass
    except VctuiError as error:
        log.warning("pod %s could not be settled: %s", pod_id, error)


async def _remove_orphan(ctx: Context, name: str) -> None:
    at = ctx.paths(name)
    async with locks.try_exclusive(at.lock) as mine:
        if not mine or name in ctx.store.pod_ids():
            return
        await reclaim(ctx, name, keep_logs=False)
        _remove(at.rootfs)
        at.lock.unlink(missing_ok=True)
        log.info("removed what was left of pod %s", name)


async def _finish_interrupted(ctx: Context, record: PodRecord) -> PodRecord:
    verb = record.operation.partition(" ")[0]
    if verb == "delete":
        await reclaim(ctx, record.id, keep_logs=False)
        forget(ctx, record.id, "its deletion, which was interrupted, was completed")
        raise NotFound(f"there is no pod {record.id!r}; its interrupted deletion was completed")
    if verb in _WHOLE_POD:
        await reclaim_what_can_be(ctx, record.id)
        reason = f"its {verb} was interrupted; start it again"
        return _stopped(ctx, record, reason, EventKind.RECOVERED)
    if verb in _FROZEN and record.machine is not None:
        # Whatever the interrupted change had come to, a running machine fits `running`.
        hypervisor = ctx.hypervisor(record)
        if hypervisor.alive(record.machine):
            await hypervisor.resume(ctx.paths(record.id).run, record.machine)
        settled = msgspec.structs.replace(record, operation="", state=State.RUNNING)
        with ctx.store.transaction() as tx:
            tx.save_pod(settled)
            for container in record.containers:
                if container.state is State.PAUSED:
                    tx.save_container(
                        record.id, msgspec.structs.replace(container, state=State.RUNNING)
                    )
            tx.emit(
                event(EventKind.RECOVERED, record.id, f"{verb} was interrupted; the pod runs on")
            )
        return ctx.store.pod(record.id)
    if verb in NETWORK_CHANGES:
        return await _finish_network_change(ctx, record)
    return await _finish_container_change(ctx, record)


async def _finish_network_change(ctx: Context, record: PodRecord) -> PodRecord:
    """An interface was being connected or disconnected: it is disconnected, the pod goes on."""
    if record.machine and ctx.hypervisor(record).alive(record.machine):
        try:
            await endpoints.finish(ctx, record.id)
        except VctuiError as error:
            ctx.note(EventKind.WARNING, record.id, f"an interface is half connected: {error}")
    with ctx.store.transaction() as tx:
        tx.save_pod(msgspec.structs.replace(tx.pod(record.id), operation=""))
        what = f"{record.operation} was interrupted; what it was about is disconnected"
        tx.emit(event(EventKind.RECOVERED, record.id, what))
    return ctx.store.pod(record.id)


async def _finish_container_change(ctx: Context, record: PodRecord) -> PodRecord:
    """A change of one container was interrupted: the pod goes on, the container is stopped."""
    verb, _, container_id = record.operation.partition(" ")
    alive = (
        record.state is State.RUNNING
        and record.machine is not None
        and ctx.hypervisor(record).alive(record.machine)
    )
    if alive:
        try:
            async with ctx.agent(record) as agent:
                await agent.remove_container(container_id, timeout=5.0)
        except VctuiError as error:
            log.info("container %s was not in the guest: %s", container_id, error)
        try:
            await devices.detach(ctx, record.id, container_id)
        except VctuiError as error:
            log.warning("container %s keeps its devices: %s", container_id, error)
    with ctx.store.transaction() as tx:
        current = tx.pod(record.id)
        tx.save_pod(msgspec.structs.replace(current, operation=""))
        for container in current.containers:
            if container.id == container_id and container.state is not State.STOPPED:
                reason = f"its {verb} was interrupted; start it again"
                tx.save_container(record.id, _ended(container, reason))
        tx.emit(event(EventKind.RECOVERED, record.id, f"{verb} was interrupted", container_id))
    if alive:
        await resources.give_back(ctx, record.id, certain=True)
    return ctx.store.pod(record.id)


async def _told_by_monitor(ctx: Context, record: PodRecord) -> PodRecord:
    """The record after a monitor that is still there has written why the machine ended."""
    if record.monitor_pid > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TELLS):
                await process.wait_end(record.monitor_pid, record.monitor_started)
    return ctx.store.pod(record.id)


@contextlib.asynccontextmanager
async def telling_why(
    ctx: Context, pod_id: str, machine: Machine, monitor: ProxyHandle
) -> AsyncIterator[None]:
    """Says why the machine ended, as its monitor has seen it, where that is why its agent does not
    answer any more.

    Raises:
        MachineDied: in the place of what a lost connection has to say.
    """
    try:
        yield
    except (AgentUnreachable, MonitorError) as error:
        if not await _ends(machine):
            raise
        watched = msgspec.structs.replace(
            ctx.store.pod(pod_id), monitor_pid=monitor.pid, monitor_started=monitor.pid_started
        )
        record = await _told_by_monitor(ctx, watched)
        if record.machine is not None:
            raise
        raise MachineDied(
            f"the virtual machine of pod {pod_id!r} ended while it was made ready: {record.reason}"
        ) from error


async def _ends(machine: Machine) -> bool:
    if machine.pid <= 0:
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDS):
            await process.wait_end(machine.pid, machine.pid_started)
            return True
    return False


async def _machine_is_gone(ctx: Context, record: PodRecord) -> PodRecord:
    reason = "the virtual machine ended while no monitor was watching"
    if words := tail(ctx.paths(record.id).run / "qemu.log", lines=1):
        reason += f"; QEMU's last line: {words[-1].decode(errors='replace')[:200]}"
    await reclaim_what_can_be(ctx, record.id)
    return _stopped(ctx, record, reason, EventKind.MACHINE_DIED)


async def _adopt(ctx: Context, record: PodRecord) -> PodRecord:
    """The monitor died and the machine did not: a new monitor takes over."""
    handle = await ctx.proxy(record).start(pod_id=record.id, run_dir=ctx.paths(record.id).run)
    with ctx.store.transaction() as tx:
        adopted = msgspec.structs.replace(
            tx.pod(record.id), monitor_pid=handle.pid, monitor_started=handle.pid_started
        )
        tx.save_pod(adopted)
    return ctx.store.pod(record.id)


def forget(ctx: Context, pod_id: str, message: str) -> None:
    """Take a pod out of the store and its last files off the disk."""
    _remove(ctx.paths(pod_id).rootfs)
    with ctx.store.transaction() as tx:
        tx.drop_pod(pod_id)
        tx.emit(event(EventKind.POD_DELETED, pod_id, message))
    ctx.paths(pod_id).lock.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    try:
        trees.remove_tree(path)
    except OSError as error:
        raise host_problem(error, f"remove {path}") from error


def _ended(container: ContainerRecord, reason: str) -> ContainerRecord:
    return msgspec.structs.replace(
        container,
        state=State.STOPPED,
        reason=reason,
        exit_code=None,
        finished=now(),
    )


def switched_off(record: PodRecord, *, reason: str = "", operation: str = "") -> PodRecord:
    """The record of a pod whose machine is no more."""
    return msgspec.structs.replace(
        record,
        state=State.STOPPED,
        reason=reason,
        operation=operation,
        machine=None,
        monitor_pid=0,
        monitor_started=0.0,
    )


def _stopped(ctx: Context, record: PodRecord, reason: str, kind: EventKind) -> PodRecord:
    with ctx.store.transaction() as tx:
        current = tx.pod(record.id)
        tx.save_pod(switched_off(current, reason=reason))
        for container in current.containers:
            if container.state is not State.STOPPED:
                container = _ended(container, reason)  # noqa: PLW2901
            tx.save_container(record.id, msgspec.structs.replace(container, devices=()))
        tx.emit(event(kind, record.id, reason))
    return ctx.store.pod(record.id)
