"""What a container does, step by step."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from vctui.drivers.agents.base import Agent, ContainerStats
from vctui.drivers.shims.base import ShimParams
from vctui.engine import devices, files, images, resources, status
from vctui.engine.change import change, exclusive, shared
from vctui.engine.context import Context, event, now
from vctui.errors import (
    AgentError,
    AgentUnreachable,
    AlreadyExists,
    HypervisorError,
    InvalidConfig,
    VctuiError,
    WrongState,
)
from vctui.model import ids, pairing, signals
from vctui.model.checks import check_cmd, check_container
from vctui.model.container import (
    Cmd,
    ContainerConfig,
    ContainerRecord,
    ExecRecord,
    Process,
)
from vctui.model.events import EventKind
from vctui.model.inherit import within
from vctui.model.pod import PodRecord
from vctui.model.state import LIVE, State, check_state, check_transition
from vctui.store.base import Transaction
from vctui.telemetry.trace import span

SIGKILL = 9
MAX_PID = 2**22
"""The largest that Linux gives (PID_MAX_LIMIT)."""
_REMOVE = 10.0
_UNKNOWN = frozenset({3, 5})
"""INVALID_ARGUMENT, NOT_FOUND: agents' codes for a container that they do not know (sheet §7.2)."""


async def create(ctx: Context, pod_id: str, config: ContainerConfig) -> None:
    """Record a container in a pod, whatever the pod's state; nothing starts."""
    config = check_container(config)

    def check(record: PodRecord) -> None:
        if any(one.id == config.id for one in record.containers):
            raise AlreadyExists(
                f"pod {pod_id!r} already has a container {config.id!r}; "
                "delete it first or choose another id"
            )

    async with (
        change(ctx, pod_id, "create-container", check, container=config.id) as record,
        images.settled(ctx, (config,)) as (settled,),
    ):
        files.check(ctx, record.config, settled)
        with ctx.store.transaction() as tx:
            tx.add_container(pod_id, ContainerRecord(config=settled))
            _done(tx, pod_id)
            tx.emit(event(EventKind.CONTAINER_CREATED, pod_id, "created", config.id))


async def start(ctx: Context, pod_id: str, container_id: str) -> None:
    def check(record: PodRecord) -> None:
        one = status.find(record, container_id)
        check_state("pod", pod_id, record.state, frozenset({State.RUNNING}), "start a container in")
        check_transition("container", container_id, one.state, State.RUNNING)
        check_state(
            "container",
            container_id,
            one.state,
            frozenset({State.READY, State.STOPPED}),
            "start",
        )

    async with change(ctx, pod_id, "start-container", check, container=container_id) as record:
        one = status.find(record, container_id)
        async with ctx.agent(record) as agent:
            if one.process is not None:
                await _let_go(agent, container_id)
            await devices.detach(ctx, pod_id, container_id)
            with ctx.store.transaction() as tx:
                tx.save_container(pod_id, ContainerRecord(config=one.config))
            try:
                with span("size of the machine"):
                    await resources.fit(ctx, pod_id, agent, starting=(container_id,))
                await launch(ctx, record, one, agent)
            except BaseException:
                await _remove_from_guest(agent, container_id)
                files.release(ctx, pod_id, container_id)
                with contextlib.suppress(HypervisorError):
                    await devices.detach(ctx, pod_id, container_id)
                await resources.give_back(ctx, pod_id)
                raise
        with ctx.store.transaction() as tx:
            _done(tx, pod_id)


async def launch(ctx: Context, record: PodRecord, one: ContainerRecord, agent: Agent) -> None:
    """Make the container in the guest and start it. The pod is held alone by the caller."""
    pod_id, container_id = record.id, one.id
    with span("devices and files"):
        attached = await devices.attach(ctx, record, one.config)
        spec = await files.prepare(ctx, record.config, one.config, attached)
    with span("create"):
        await agent.create_container(spec)
    with span("shim"):
        process = await ctx.shim(record).start(
            ctx.paths(pod_id).run,
            ShimParams(
                container_id=container_id,
                token=container_id,
                terminal=one.config.cmd.interactive,
                log=True,
                console=one.config.cmd.console,
            ),
        )
    with ctx.store.transaction() as tx:
        current = tx.container(pod_id, container_id)
        mounts = files.placed(ctx, record.config, one.config, spec)
        tx.save_container(pod_id, msgspec.structs.replace(current, process=process, mounts=mounts))
    with span("start"):
        await agent.start_container(container_id)
    with ctx.store.transaction() as tx:
        current = tx.container(pod_id, container_id)
        if current.state is State.READY:  # not where it has ended already
            tx.save_container(pod_id, msgspec.structs.replace(current, state=State.RUNNING))
            tx.emit(
                event(
                    EventKind.CONTAINER_STARTED,
                    pod_id,
                    " ".join(one.config.cmd.args)[:200],
                    container_id,
                )
            )


async def stop(ctx: Context, pod_id: str, container_id: str, *, grace: float | None = None) -> None:
    """One that is stopped already stays so, which is no error (API: StopContainer)."""
    found = status.find(ctx.store.pod(pod_id), container_id)
    if found.state is State.STOPPED and not found.devices:
        return

    def check(record: PodRecord) -> None:
        one = status.find(record, container_id)
        if one.state is not State.STOPPED:
            check_state(
                "pod",
                pod_id,
                record.state,
                frozenset({State.READY, State.RUNNING}),
                "stop a container in",
            )

    async with change(ctx, pod_id, "stop-container", check, container=container_id) as record:
        one = status.find(record, container_id)
        if one.state in LIVE:
            async with ctx.agent(record) as agent:
                await end(ctx, record, container_id, agent, grace)
        await _unplug(ctx, pod_id, container_id)
        with ctx.store.transaction() as tx:
            current = tx.container(pod_id, container_id)
            if current.state is not State.STOPPED:
                tx.save_container(
                    pod_id, msgspec.structs.replace(current, state=State.STOPPED, finished=now())
                )
                tx.emit(event(EventKind.CONTAINER_STOPPED, pod_id, "stopped", container_id))
        await resources.give_back(ctx, pod_id)
        with ctx.store.transaction() as tx:
            _done(tx, pod_id)


async def _unplug(ctx: Context, pod_id: str, container_id: str) -> None:
    """Take a stopped container's devices away, once the guest has written all to its disks."""
    record = ctx.store.pod(pod_id)
    if not status.find(record, container_id).devices:
        return
    if record.state is State.RUNNING:
        async with ctx.agent(record) as agent:
            await _let_go(agent, container_id)
    await devices.detach(ctx, pod_id, container_id)


async def end(
    ctx: Context, record: PodRecord, container_id: str, agent: Agent, grace: float | None
) -> None:
    """The stop signal, a time to react, then SIGKILL for all that is left."""
    shim, run_dir = ctx.shim(record), ctx.paths(record.id).run
    wait = ctx.settings.timeouts.stop if grace is None else grace
    ask = signals.stop_signal(status.find(record, container_id).config.annotations)
    await agent.signal(container_id, container_id, ask, all=False)
    try:
        async with asyncio.timeout(wait):
            await shim.wait(run_dir, container_id)
            return
    except TimeoutError:
        await agent.signal(container_id, container_id, SIGKILL, all=True)
    patience = ctx.settings.timeouts.agent
    try:
        async with asyncio.timeout(patience):
            await shim.wait(run_dir, container_id)
    except TimeoutError as error:
        raise AgentUnreachable(
            f"the guest did not tell the end of container {container_id!r} within {patience:g} s "
            f"of SIGKILL; stop pod {record.id!r}, or raise timeouts.agent"
        ) from error


async def delete(ctx: Context, pod_id: str, container_id: str) -> None:
    def check(record: PodRecord) -> None:
        one = status.find(record, container_id)
        check_state(
            "container",
            container_id,
            one.state,
            frozenset({State.READY, State.STOPPED}),
            "delete",
        )

    async with change(ctx, pod_id, "delete-container", check, container=container_id) as record:
        if record.state is State.RUNNING and status.find(record, container_id).process is not None:
            async with ctx.agent(record) as agent:
                await _let_go(agent, container_id)
        await devices.detach(ctx, pod_id, container_id)
        files.forget(ctx, pod_id, container_id)
        with ctx.store.transaction() as tx:
            tx.drop_container(pod_id, container_id)
            tx.emit(event(EventKind.CONTAINER_DELETED, pod_id, "deleted", container_id))
        await resources.give_back(ctx, pod_id)
        with ctx.store.transaction() as tx:
            _done(tx, pod_id)


async def set_pid(ctx: Context, pod_id: str, container_id: str, pid: int) -> None:
    """Record another host process as the one that stands for the container; touch none."""
    if not 1 <= pid <= MAX_PID:
        raise InvalidConfig(f"{pid} is not a process; give a number from 1 to {MAX_PID}")
    async with exclusive(ctx, pod_id) as record:
        if status.find(record, container_id).process is None:
            raise WrongState(
                f"container {container_id!r} of pod {pod_id!r} was never started and has no "
                "process; start it first"
            )
        with ctx.store.transaction() as tx:
            current = tx.container(pod_id, container_id)
            if current.process is not None:
                process = msgspec.structs.replace(current.process, pid=pid)
                tx.save_container(pod_id, msgspec.structs.replace(current, process=process))


async def kill(
    ctx: Context,
    pod_id: str,
    container_id: str,
    signal: int,
    *,
    all: bool = False,  # noqa: A002 - the API's word
) -> None:
    if not 1 <= signal <= signals.LAST:
        raise InvalidConfig(f"{signal} is not a signal; give a number from 1 to {signals.LAST}")
    async with shared(ctx, pod_id) as record:
        check_running(record, container_id, "kill")
        async with ctx.agent(record) as agent:
            await agent.signal(container_id, container_id, signal, all=all)
        whom = "all processes" if all else "the first process"
        ctx.note(
            EventKind.CONTAINER_KILLED, pod_id, f"signal {signal} sent to {whom}", container_id
        )


async def enter(ctx: Context, pod_id: str, container_id: str, cmd: Cmd) -> Process:
    """Start one more process in a running container; what `cmd` leaves out is the container's."""
    cmd = check_cmd(cmd)
    token = ids.new_token()
    async with shared(ctx, pod_id) as record:
        pairing.check_console(record.config, cmd)
        check_running(record, container_id, "exec in")
        async with ctx.agent(record) as agent:
            first = status.find(record, container_id).config.cmd
            whole = within(cmd, first)
            if agent.shim_first:
                process = await _stand_for(ctx, record, container_id, token, cmd)
                await agent.exec(container_id, token, whole)
                return process
            await agent.exec(container_id, token, whole)
            try:
                return await _stand_for(ctx, record, container_id, token, cmd)
            except VctuiError:
                await agent.signal(container_id, token, SIGKILL, all=False)
                raise


async def _stand_for(
    ctx: Context, record: PodRecord, container_id: str, token: str, cmd: Cmd
) -> Process:
    """Record a process that is added, and let a shim stand for it."""
    pod_id = record.id
    process = Process(token=token, pid=record.monitor_pid, start_time=now())
    with ctx.store.transaction() as tx:
        tx.save_exec(pod_id, ExecRecord(container_id=container_id, cmd=cmd, process=process))
        started = event(EventKind.PROCESS_STARTED, pod_id, " ".join(cmd.args)[:200], container_id)
        tx.emit(msgspec.structs.replace(started, token=token))
    params = ShimParams(
        container_id=container_id,
        token=token,
        terminal=cmd.interactive,
        log=False,
        console=cmd.console,
    )
    try:
        process = await ctx.shim(record).start(ctx.paths(pod_id).run, params)
    except VctuiError:
        unattended = ExecRecord(container_id=container_id, cmd=cmd, process=process, finished=now())
        ctx.save(lambda tx: tx.save_exec(pod_id, unattended))
        raise
    with ctx.store.transaction() as tx:
        _stood_for_by(tx, pod_id, process)
    return process


def _stood_for_by(tx: Transaction, pod_id: str, process: Process) -> None:
    """Record who stands for a process that was added; it may have ended already."""
    for one in tx.execs(pod_id):
        if one.process.token == process.token and one.process != process:
            tx.save_exec(pod_id, msgspec.structs.replace(one, process=process))


def check_running(record: PodRecord, container_id: str, verb: str) -> None:
    one = status.find(record, container_id)
    running = frozenset({State.RUNNING})
    check_state("pod", record.id, record.state, running, f"{verb} a container of")
    check_state("container", container_id, one.state, running, verb)


def _done(tx: Transaction, pod_id: str) -> None:
    tx.save_pod(msgspec.structs.replace(tx.pod(pod_id), operation=""))


async def _remove_from_guest(agent: Agent, container_id: str) -> None:
    """A container that the guest does not know (any more) is removed enough."""
    with contextlib.suppress(AgentError):
        await agent.remove_container(container_id, timeout=_REMOVE)


async def _let_go(agent: Agent, container_id: str) -> None:
    """As `_remove_from_guest`, for a container whose devices are to be unplugged.

    Raises:
        AgentError: one of its disks stays in use.
    """
    try:
        await agent.remove_container(container_id, timeout=_REMOVE)
    except AgentError as error:
        if error.code not in _UNKNOWN:
            raise


async def stats(ctx: Context, pod_id: str) -> dict[str, ContainerStats]:
    async with shared(ctx, pod_id) as record:
        running = [one.id for one in record.containers if one.state is State.RUNNING]
        if record.state is not State.RUNNING or not running:
            return {}
        async with ctx.agent(record) as agent:
            return await agent.stats(running)
