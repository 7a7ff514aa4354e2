"""What a pod does, step by step."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from msgspec.structs import replace

from vctui.drivers.agents.base import Agent
from vctui.engine import (
    assets,
    endpoints,
    files,
    filling,
    guests,
    hooks,
    images,
    lastwords,
    machine,
    network,
    programs,
    recovery,
    registry,
    resources,
    sharing,
    templates,
    timeline,
)
from vctui.engine import container as containers
from vctui.engine.change import change, exclusive
from vctui.engine.context import Context, Progress, event, no_progress, now
from vctui.engine.rollback import Rollback
from vctui.engine.together import together
from vctui.errors import (
    AgentError,
    AgentUnreachable,
    AlreadyExists,
    MonitorError,
    NotFound,
    VctuiError,
    WrongState,
)
from vctui.linux import locks
from vctui.linux.files import private_dir, tail
from vctui.linux.problems import host_problem
from vctui.model.checks import check_annotations, check_pod
from vctui.model.container import ContainerRecord
from vctui.model.events import EventKind
from vctui.model.pod import PodConfig, PodRecord
from vctui.model.state import State, check_state, check_transition
from vctui.store.base import Transaction
from vctui.telemetry import trace
from vctui.telemetry.trace import span
from vctui.wire import ttrpc

_AGENT_GOODBYE = 10.0
"""Seconds that a guest which is going to be switched off may take to answer."""
_SWITCH_OFF = 5.0
"""Seconds for the machine, and for what stands beside it, to go by themselves."""


async def create(ctx: Context, config: PodConfig) -> PodRecord:
    """Record a pod and prepare it; nothing boots."""
    config = check_pod(guests.settled(ctx, config))
    programs.check(config, ctx.paths(config.id).run)
    at = ctx.paths(config.id)
    async with locks.exclusive(at.lock):
        if config.id in ctx.store.pod_ids():
            raise AlreadyExists(
                f"pod {config.id!r} already exists; delete it first or choose another id"
            )
        async with Rollback() as undo:
            undo.push(lambda: at.lock.unlink(missing_ok=True))
            plan = machine.plan(ctx, await assets.settle(config))
            network.check(ctx, config)
            ctx.hypervisor(PodRecord(config=config, created=now())).check(plan)
            await sharing.check(ctx, plan)
            async with images.settled(ctx, config.containers) as settled:
                for one in settled:
                    files.check(ctx, config, one)
                record = PodRecord(
                    config=msgspec.structs.replace(config, containers=settled),
                    created=now(),
                    containers=tuple(ContainerRecord(config=one) for one in settled),
                )
                with ctx.store.transaction() as tx:
                    tx.add_pod(record)
                    tx.emit(event(EventKind.POD_CREATED, config.id, _summary(config)))
            undo.keep()
    return record


async def run(ctx: Context, config: PodConfig, progress: Progress = no_progress) -> None:
    """Create and start; a pod that does not start is taken away again."""
    with span("create the pod"):
        made = await create(ctx, config)
    try:
        await start(ctx, config.id, progress)
    except BaseException:
        with contextlib.suppress(NotFound, WrongState):
            await _withdraw(ctx, made)
        raise


async def _withdraw(ctx: Context, made: PodRecord) -> None:
    """Delete a pod that never ran. One that somebody else has started meanwhile, or made anew
    under the id, is not ours to delete."""
    pod_id = made.id

    def check(record: PodRecord) -> None:
        if record.created != made.created:
            raise NotFound(f"the pod {pod_id!r} that was made here is gone; nothing is to be done")
        check_state("pod", pod_id, record.state, frozenset({State.READY}), "withdraw")

    async with change(ctx, pod_id, "delete", check):
        await recovery.reclaim(ctx, pod_id, keep_logs=False)
        recovery.forget(ctx, pod_id, "deleted")


async def start(ctx: Context, pod_id: str, progress: Progress = no_progress) -> None:
    def check(record: PodRecord) -> None:
        check_transition("pod", pod_id, record.state, State.RUNNING)
        check_state("pod", pod_id, record.state, frozenset({State.READY, State.STOPPED}), "start")

    async with change(ctx, pod_id, "start", check) as record:
        await _boot(ctx, record, progress)


async def stop(
    ctx: Context, pod_id: str, *, grace: float | None = None, progress: Progress = no_progress
) -> None:
    def check(record: PodRecord) -> None:
        check_transition("pod", pod_id, record.state, State.STOPPED)

    async with change(ctx, pod_id, "stop", check) as record:
        await _shut_down(ctx, record, grace, progress)


async def restart(ctx: Context, pod_id: str, progress: Progress = no_progress) -> None:
    async with change(ctx, pod_id, "restart", lambda _record: None) as record:
        if record.state in recovery.LIVE:
            await _shut_down(ctx, record, None, progress, operation="restart")
        await _boot(ctx, ctx.store.pod(pod_id), progress)


async def delete(ctx: Context, pod_id: str, progress: Progress = no_progress) -> None:
    """Stop what runs and leave nothing."""
    async with change(ctx, pod_id, "delete", lambda _record: None) as record:
        if record.state in recovery.LIVE:
            await _shut_down(ctx, record, None, progress, operation="delete")
        progress("removing the pod")
        await recovery.reclaim(ctx, pod_id, keep_logs=False)
        recovery.forget(ctx, pod_id, "deleted")


async def pause(ctx: Context, pod_id: str) -> None:
    def check(record: PodRecord) -> None:
        check_transition("pod", pod_id, record.state, State.PAUSED)

    async with change(ctx, pod_id, "pause", check) as record:
        if record.machine is not None:
            await ctx.hypervisor(record).pause(ctx.paths(pod_id).run, record.machine)
        _freeze(ctx, record, State.RUNNING, State.PAUSED, EventKind.POD_PAUSED)


async def resume(ctx: Context, pod_id: str) -> None:
    def check(record: PodRecord) -> None:
        check_state("pod", pod_id, record.state, frozenset({State.PAUSED}), "resume")

    async with change(ctx, pod_id, "resume", check) as record:
        if record.machine is not None:
            await ctx.hypervisor(record).resume(ctx.paths(pod_id).run, record.machine)
        _freeze(ctx, record, State.PAUSED, State.RUNNING, EventKind.POD_RESUMED)
        try:
            async with ctx.agent(record) as agent:
                await agent.set_clock()
        except AgentError as error:
            ctx.note(EventKind.WARNING, pod_id, f"the guest's clock was not set: {error}")


async def set_annotations(ctx: Context, pod_id: str, annotations: dict[str, str]) -> None:
    """Merge into the pod's annotations, in any state (VCPod.SetAnnotations)."""
    annotations = check_annotations(annotations)
    async with exclusive(ctx, pod_id) as record:
        merged = {**record.config.annotations, **annotations}
        config = msgspec.structs.replace(record.config, annotations=merged)
        with ctx.store.transaction() as tx:
            tx.save_pod(msgspec.structs.replace(record, config=config))


async def _boot(ctx: Context, record: PodRecord, progress: Progress) -> None:
    pod_id, at = record.id, ctx.paths(record.id)
    hypervisor, proxy = ctx.hypervisor(record), ctx.proxy(record)
    with span("plan the machine"):
        plan = machine.plan(ctx, await assets.settle(record.config))
        hypervisor.check(plan)
        server = await sharing.check(ctx, plan)
    async with Rollback() as undo:
        undo.push(recovery.reclaim_what_can_be, ctx, pod_id)
        with span("make the pod's folder"):
            await recovery.reclaim(ctx, pod_id, keep_logs=True)
            timeline.forget(ctx, pod_id)
            try:
                private_dir(at.logs / "containers")
            except OSError as error:
                raise host_problem(error, f"make the pod's folder {at.logs}") from error
            proxy.launch(pod_id=pod_id, run_dir=at.run)
            files.make_share(ctx, record.config)
            ctx.save(lambda tx: _begin(tx, record))
        netns = await network.open_namespace(ctx, record)
        if record.config.hooks.pre_start:
            progress("running the pre-start hooks")
            before_boot = msgspec.structs.replace(record, machine=None)
            with span("pre-start hooks"):
                await hooks.run(ctx, before_boot, hooks.Phase.PRE_START, netns=netns)
        connected = None
        if netns is not None:
            progress("connecting the network")
            with span("connect the network"):
                connected = await network.connect(ctx, pod_id, processors=plan.vcpus)
            files.write_resolver(ctx, pod_id, connected.dns)
            plan = replace(plan, netns=netns, endpoints=connected.endpoints)
        everyone = [one.config for one in record.containers]
        copying = asyncio.create_task(files.copy_ahead(ctx, record.config, everyone))
        undo.push(_abandon, copying)
        with span("start the machine"):
            ready = await templates.take(ctx, record.config, plan)
            started, _ = await together(
                sharing.boot(ctx, record.config, plan, server, progress, ready),
                _load_agent(ctx, record),
            )
        began = trace.clock() if started.template else 0.0
        ctx.save(lambda tx: tx.save_pod(msgspec.structs.replace(tx.pod(pod_id), machine=started)))
        if connected is not None and started.template:
            with span("plug the network in"):
                connected = await endpoints.plug_all(ctx, pod_id)
        with span("start the proxy"):
            handle = await proxy.start(pod_id=pod_id, run_dir=at.run)
        progress("waiting for the agent")
        try:
            with span("wait for the agent"):
                await proxy.wait_agent(at.run, timeout=ctx.settings.timeouts.start)
        except VctuiError as error:
            await templates.distrust(ctx, started)
            console = tail(at.logs / "console.log", lines=lastwords.LINES)
            if not console and getattr(error, "code", None) == ttrpc.FAILED_PRECONDITION:
                raise  # the way to the agent ended before the guest could say anything
            for note in lastwords.told(console, memory=plan.memory):
                error.add_note(note)
            raise
        progress("preparing the guest")
        async with recovery.telling_why(ctx, pod_id, started, handle), ctx.agent(record) as agent:
            with span("prepare the guest"):
                hostname = record.config.hostname or pod_id
                await agent.start_sandbox(
                    pod_id=pod_id,
                    hostname=hostname,
                    network=connected,
                    shared_fs=record.config.hypervisor_config.shared_fs,
                    volumes=[one.mount_tag for one in record.config.volumes],
                )
            if connected is not None:
                endpoints.note_left_out(ctx, pod_id, agent.left_out(connected))
            await copying
            with span("size of the machine"):
                starting = tuple(one.id for one in everyone)
                await resources.fit(ctx, pod_id, agent, starting=starting)
            for one in record.containers:
                progress(f"starting container {one.id}")
                with span(f"container {one.id}"):
                    await containers.launch(ctx, record, one, agent)
            await timeline.ask_guest(agent, since=began)
        if record.config.hooks.post_start:
            progress("running the post-start hooks")
            with span("post-start hooks"):
                await hooks.run(ctx, ctx.store.pod(pod_id), hooks.Phase.POST_START)
        with ctx.store.transaction() as tx:
            current = tx.pod(pod_id)
            if current.machine is None:
                raise MonitorError(f"pod {pod_id!r} ended while it started: {current.reason}")
            tx.save_pod(
                msgspec.structs.replace(
                    current,
                    state=State.RUNNING,
                    operation="",
                    reason="",
                    started=now(),
                    monitor_pid=handle.pid,
                    monitor_started=handle.pid_started,
                )
            )
            tx.emit(event(EventKind.POD_STARTED, pod_id, f"runs on {started.accelerator}"))
        undo.keep()
    filling.begin(ctx)


async def _abandon(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _load_agent(ctx: Context, record: PodRecord) -> None:
    """Import what will be needed when the machine runs; nothing else has to be done until then."""
    with span("load the agent's driver"):
        await asyncio.to_thread(registry.agent, record.config.agent_type, ctx.settings)


def _begin(tx: Transaction, record: PodRecord) -> None:
    for one in record.containers:
        tx.save_container(record.id, ContainerRecord(config=one.config))
    tx.emit(event(EventKind.POD_STARTING, record.id, "starting"))


async def _shut_down(
    ctx: Context,
    record: PodRecord,
    grace: float | None,
    progress: Progress,
    *,
    operation: str = "",
) -> None:
    """Stop the containers, then the guest, then the machine.

    A guest that does not answer is switched off; `operation` is what goes on afterwards.
    """
    pod_id, at = record.id, ctx.paths(record.id)
    ctx.note(EventKind.POD_STOPPING, pod_id, "stopping")
    if record.machine is not None:
        hypervisor = ctx.hypervisor(record)
        if record.state is State.PAUSED:
            await hypervisor.resume(at.run, record.machine)
        progress("stopping the containers")
        try:
            async with ctx.agent(record) as agent:
                await _stop_guest(ctx, record, agent, grace)
        except (AgentError, MonitorError) as error:
            ctx.note(EventKind.WARNING, pod_id, f"switched off without goodbye: {error}")
        progress("switching the virtual machine off")
        await hypervisor.stop(at.run, record.machine, timeout=_SWITCH_OFF)
        await ctx.proxy(record).stop(
            at.run,
            pid=record.monitor_pid,
            pid_started=record.monitor_started,
            timeout=_SWITCH_OFF,
        )
    await recovery.reclaim_what_can_be(ctx, pod_id)
    with ctx.store.transaction() as tx:
        current = tx.pod(pod_id)
        tx.save_pod(recovery.switched_off(current, operation=operation))
        for one in current.containers:
            stopped = msgspec.structs.replace(one, devices=())
            if one.state is not State.STOPPED:
                stopped = msgspec.structs.replace(stopped, state=State.STOPPED, finished=now())
            if stopped != one:
                tx.save_container(pod_id, stopped)
        tx.emit(event(EventKind.POD_STOPPED, pod_id, "stopped"))
    if record.config.hooks.post_stop:
        progress("running the post-stop hooks")
        await hooks.run(ctx, record, hooks.Phase.POST_STOP)


async def _stop_guest(ctx: Context, record: PodRecord, agent: Agent, grace: float | None) -> None:
    running = [one for one in record.containers if one.state in recovery.LIVE]
    results = await asyncio.gather(
        *(containers.end(ctx, record, one.id, agent, grace) for one in running),
        return_exceptions=True,
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    try:
        async with asyncio.timeout(_AGENT_GOODBYE):
            await agent.stop_sandbox()
    except TimeoutError as error:
        raise AgentUnreachable(
            f"the agent did not end its containers within {_AGENT_GOODBYE:g} s"
        ) from error


def _freeze(ctx: Context, record: PodRecord, old: State, new: State, kind: EventKind) -> None:
    with ctx.store.transaction() as tx:
        current = tx.pod(record.id)
        tx.save_pod(msgspec.structs.replace(current, state=new, operation=""))
        for one in current.containers:
            if one.state is old:
                tx.save_container(record.id, msgspec.structs.replace(one, state=new))
        tx.emit(event(kind, record.id, str(new)))


def _summary(config: PodConfig) -> str:
    names = ", ".join(one.id for one in config.containers) or "none yet"
    return f"containers: {names}"
