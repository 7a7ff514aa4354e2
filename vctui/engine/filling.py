"""Filling the pool of ready guests, behind whoever took one: there is no daemon to do so.

A process of its own makes one guest after the other until there are enough, and ends. One that is
killed leaves a machine in the pool's folder that is not ready; the next engine that opens ends it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Final

import msgspec
from msgspec.structs import replace

from vctui.drivers.agents.base import ContainerSpec
from vctui.drivers.hypervisors.base import MachinePlan
from vctui.engine import recovery, registry, templates
from vctui.engine.context import Context, no_progress, now
from vctui.engine.pool import LOG, Pool
from vctui.engine.rollback import Rollback
from vctui.errors import AgentError, AgentUnreachable, HostProblem
from vctui.image import rootfs
from vctui.linux import files, probe, process, trees
from vctui.linux.problems import host_problem
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.kinds import AgentType

log = logging.getLogger(__name__)

_WARM_UP: Final = "warm-up"
_SCRIPT: Final = "echo ready; exec sleep 1000"
_FAREWELL: Final = 1.0
"""Seconds for a guest's kernel to see that we have left its agent's port, which nobody hears of.
One that was frozen before could take the next client's first request for ours."""
_HEADWAY: Final = 1.0
"""Seconds that a pod which has just started has the processors for itself."""


def begin(ctx: Context) -> None:
    """Have the pool filled by another process, where it is not full."""
    pool = Pool(ctx.settings)
    if ctx.read_only or len(pool.ready()) >= pool.size:
        return
    try:
        files.private_dir(pool.folder)
        settings = os.memfd_create("settings")
        report = os.open(
            pool.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(settings, msgspec.json.encode(ctx.settings))
            os.lseek(settings, 0, os.SEEK_SET)
            process.spawn_detached(
                (sys.executable, "-P", "-m", "vctui.engine.filler", pool.folder),
                stdin=settings,
                stderr=report,
            )
        finally:
            os.close(settings)
            os.close(report)
    except OSError as error:
        problem = host_problem(error, f"make ready guests in {pool.folder}")
        log.warning("the pool stays as it is: %s", problem)


async def fill(ctx: Context) -> None:
    """Make ready guests until there are enough; nothing where others are about to.

    Raises:
        WrongState: pods boot cold here.
        HostProblem: there is no memory for one more.
        HypervisorError, AgentError: one cannot be made; nothing of it is left.
    """
    pool = Pool(ctx.settings)
    await asyncio.sleep(_HEADWAY)
    async with pool.turn() as mine:
        if not mine:
            return
        wanted = await templates.usual(ctx)
        await pool.tidy(lambda each: each.key == wanted.key and recovery.is_usable(ctx, each))
        while len(pool.ready()) < pool.size:
            await _add(ctx, pool, wanted)


async def _add(ctx: Context, pool: Pool, wanted: templates.Usual) -> None:
    plan, hypervisor = wanted.plan, wanted.hypervisor
    available = probe.memory_mib()[1]
    if available < 2 * plan.memory:
        raise HostProblem(
            f"{available} MiB of memory are available, too little for a ready guest of "
            f"{plan.memory} MiB beside a pod; stop something, or lower template.pool"
        )
    async with Rollback() as undo:
        place = pool.start()
        undo.push(pool.end, place.name)
        nobodys = replace(templates.nobodys_plan(plan, place), apart=True)
        async with templates.saved(ctx, wanted, no_progress) as guest:
            machine = await templates.restored(
                ctx, hypervisor, replace(nobodys, restores=guest), wanted.key
            )
        try:
            async with asyncio.timeout(ctx.settings.timeouts.start):
                await hypervisor.opened(place, machine, plan.ports[0].name)
                await _warm_up(ctx, nobodys)
        except (AgentError, TimeoutError) as error:
            await templates.distrust(ctx, machine)
            raise AgentUnreachable(f"the agent of a ready guest does not work: {error}") from error
        await asyncio.sleep(_FAREWELL)
        await hypervisor.pause(place, machine)
        pool.publish(place, machine, now())
        undo.keep()


async def _warm_up(ctx: Context, plan: MachinePlan) -> None:
    """Run a container and throw it away: an emulator translates the guest's code when it first
    runs, and a pod's first container would wait for that."""
    shared, port = plan.shares[0].path, plan.ports[0].socket
    cmd = Cmd(args=("/bin/sh", "-c", _SCRIPT))
    spec = ContainerSpec(
        config=ContainerConfig(id=_WARM_UP, rootfs="busybox", cmd=cmd),
        hostname=plan.pod_id,
        rootfs=f"{_WARM_UP}/rootfs",
    )
    try:
        (shared / _WARM_UP).mkdir(mode=0o700)
        await trees.copy_tree(rootfs.rootfs_template(ctx.settings, "busybox"), shared / spec.rootfs)
        agent = registry.agent(AgentType.KATA, ctx.settings)
        try:
            await agent.connect(f"unix://{port}", timeout=ctx.settings.timeouts.agent)
            await agent.start_sandbox(pod_id=plan.pod_id, hostname=plan.pod_id)
            await agent.create_container(spec)
            await agent.start_container(_WARM_UP)
            await agent.exec(_WARM_UP, "again", Cmd(args=("/bin/true",)))
            await agent.remove_container(_WARM_UP, timeout=1.0)
        finally:
            await agent.close()
        trees.remove_tree(shared / _WARM_UP)
    except OSError as error:
        raise host_problem(error, f"warm up a ready guest in {plan.run_dir}") from error
