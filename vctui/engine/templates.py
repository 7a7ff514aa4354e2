"""Pods begin as a guest that was saved when its agent was ready, instead of booting.

The first pod of a kind builds its template; later ones take 0.1 s instead of seconds, and less
where a machine that began so waits for them already (`take`). A pod that cannot begin so, or whose
template fails, boots, and its machine says why (`Machine.boot`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from vctui.drivers.hypervisors.base import Hypervisor, MachinePlan, SavedGuest, Size, TemplateFit
from vctui.engine import machine, registry
from vctui.engine.context import Context, Progress, no_progress, now
from vctui.engine.pool import Pool, Ready
from vctui.engine.rollback import Rollback
from vctui.engine.shelf import Shelf
from vctui.errors import (
    AgentUnreachable,
    HostProblem,
    InvalidConfig,
    NotFound,
    VctuiError,
    WrongState,
)
from vctui.linux import probe
from vctui.model import pairing
from vctui.model.hypervisor import Machine
from vctui.model.kinds import AgentProtocol, AgentType, NetworkModel
from vctui.model.pod import PodConfig, Resources
from vctui.model.template import Template

log = logging.getLogger(__name__)

_CONSOLE_KEPT = 256 * 1024
_FROM_HERE = b"\r\n--- saved as a template; this pod begins here ---\r\n"
_MOST_GROWTH = 8
"""Times the memory that a guest booted with: it keeps account of all other memory in that."""
_GOODBYE = 2.0
"""Seconds for a machine whose guest is saved to end."""


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """Machines of pods that ask for nothing but a size."""

    hypervisor: Hypervisor
    plan: MachinePlan
    key: str
    """Of their template."""


async def take(ctx: Context, config: PodConfig, plan: MachinePlan) -> Machine | None:
    """A ready machine of the pool, which is the pod's from now on and runs; None where none fits.

    Raises:
        HostProblem: one was taken that is not whole.
    """
    pool = Pool(ctx.settings)
    if not pool.size or not _takes_any(config, plan):
        return None
    hypervisor = registry.hypervisor(config.hypervisor_type, ctx.settings)
    at = ctx.paths(config.id)
    fit, _ = await _choose(ctx, hypervisor, config, plan)
    ready = pool.take(fit.key, at, hypervisor.alive) if fit.key else None
    if ready is None:
        return None
    try:
        await hypervisor.resume(at.run, ready.machine)
    except VctuiError as error:
        log.warning("the ready guest %s cannot be used: %s", ready.name, error)
        await hypervisor.stop(at.run, ready.machine, timeout=0)
        return None
    _recall(Shelf(ctx.settings).guest(ready.key), at.logs / "console.log")
    return msgspec.structs.replace(
        ready.machine,
        boot=f"taken from the pool of ready guests, {ready.machine.boot}",
        least_vcpus=plan.vcpus,
        least_memory=plan.memory,
    )


def _takes_any(config: PodConfig, plan: MachinePlan) -> bool:
    """Whether the pod's machine need not be started for it: what serves a volume cannot be added
    later, and hooks may look for the pod's network where the machine's process is."""
    has_network = config.network_model is not NetworkModel.NOOP
    return len(plan.shares) == 1 and not (has_network and config.hooks.post_start)


async def boot(
    ctx: Context,
    config: PodConfig,
    plan: MachinePlan,
    progress: Progress,
    ready: Machine | None = None,
) -> Machine:
    """Start a pod's machine, from a template where it can be. One that is `ready` needs no more.

    Raises:
        MachineDied, HostProblem: it cannot be started at all.
    """
    if ready is not None:
        return ready
    hypervisor = registry.hypervisor(config.hypervisor_type, ctx.settings)
    fit, begins = await _choose(ctx, hypervisor, config, plan)
    key, why_cold = fit.key, fit.why_cold
    if key:
        try:
            async with _template(ctx, hypervisor, begins, key, progress) as guest:
                progress("restoring the virtual machine")
                started = await restored(ctx, hypervisor, replace(begins, restores=guest), key)
                _recall(guest, ctx.paths(config.id).logs / "console.log")
                return msgspec.structs.replace(
                    started, least_vcpus=plan.vcpus, least_memory=plan.memory
                )
        except VctuiError as error:
            why_cold = f"the template failed: {error}"
    progress("booting the virtual machine")
    started = await hypervisor.start(plan)
    if not why_cold:
        return started
    return msgspec.structs.replace(started, boot=f"{started.boot}; no template, as {why_cold}")


async def build(ctx: Context, size: Resources, progress: Progress = no_progress) -> Template:
    """Have the template of pods that ask for nothing but a size.

    Raises:
        WrongState: such pods boot cold here.
        InvalidConfig: the guest needs more memory.
        DiskFull, HostProblem, HypervisorError, AgentError: it cannot be built.
    """
    wanted = await usual(ctx, size)
    shelf = Shelf(ctx.settings)
    async with saved(ctx, wanted, progress), shelf.using(wanted.key) as found:
        if found is None:
            raise HostProblem(f"template {wanted.key} is gone as soon as it was built; try again")
        waiting = Pool(ctx.settings).ready()
        return _with_ready(found, waiting)


async def usual(ctx: Context, size: Resources = Resources()) -> Usual:  # noqa: B008 - frozen
    """
    Raises:
        WrongState: such pods boot cold here.
        InvalidConfig: the guest needs more memory.
    """
    config = PodConfig(
        id="template",
        vm_config=size,
        hypervisor_type=ctx.settings.pod.hypervisor_type,
        agent_type=ctx.settings.pod.agent_type,
        hypervisor_config=machine.defaults(ctx.settings),
    )
    hypervisor = registry.hypervisor(config.hypervisor_type, ctx.settings)
    plan = machine.plan(ctx, config)
    if plan.memory < plan.min_memory:
        raise InvalidConfig(
            f"there is no template of {plan.memory} MiB, as this guest needs at least "
            f"{plan.min_memory} MiB; give it more with --memory, or as pod.memory in config.toml"
        )
    hypervisor.check(plan)
    fit = await _fit(ctx, hypervisor, config, plan)
    key = fit.key
    if not key:
        why = fit.why_cold or f"the hypervisor is {config.hypervisor_type}"
        raise WrongState(f"pods boot without a template here, as {why}; nothing was built")
    return Usual(hypervisor=hypervisor, plan=plan, key=key)


@contextlib.asynccontextmanager
async def saved(ctx: Context, wanted: Usual, progress: Progress) -> AsyncIterator[SavedGuest]:
    """The saved guest, which stays as long as the block; built where there is none.

    Raises:
        DiskFull, HostProblem, HypervisorError, AgentError: it cannot be built.
    """
    async with _template(ctx, wanted.hypervisor, wanted.plan, wanted.key, progress) as guest:
        yield guest


def templates(ctx: Context) -> list[Template]:
    """Those used last first, each with the ready guests that began as it."""
    waiting = Pool(ctx.settings).ready()
    return [_with_ready(each, waiting) for each in Shelf(ctx.settings).templates()]


def _with_ready(template: Template, waiting: Sequence[Ready]) -> Template:
    ready = sum(each.key == template.key for each in waiting)
    return msgspec.structs.replace(template, ready=ready)


async def remove(ctx: Context, key: str) -> Template:
    """
    Raises:
        NotFound: there is no such template.
        WrongState: somebody builds it or begins as it.
    """
    shelf = Shelf(ctx.settings)
    found = shelf.get(key)
    if found is None:
        raise NotFound(f"there is no template {key!r}; see `vctui guest template list`")
    if not await shelf.remove(key):
        raise WrongState(f"template {key!r} is in use at the moment; try again")
    await Pool(ctx.settings).end_all(key)
    return found


async def distrust(ctx: Context, machine_: Machine | None) -> None:
    """A machine that began as a template came to nothing: the next one gets a new template."""
    if machine_ is not None and machine_.template:
        await Shelf(ctx.settings).remove(machine_.template)
        await Pool(ctx.settings).end_all(machine_.template)


async def _fit(
    ctx: Context, hypervisor: Hypervisor, config: PodConfig, plan: MachinePlan
) -> TemplateFit:
    """The template of exactly this plan, or why there is none."""
    fit = await hypervisor.template_fit(plan)
    if not fit.key:
        return fit
    if not ctx.settings.template.enabled:
        return TemplateFit(why_cold="config.toml switches templates off")
    if config.agent_type is not AgentType.KATA:
        return TemplateFit(why_cold=f"its agent is {config.agent_type}")
    if (protocol := pairing.agent_protocol(config)) is not AgentProtocol.TTRPC:
        return TemplateFit(why_cold=f"its agent's protocol is {protocol}")
    return fit


async def _choose(
    ctx: Context, hypervisor: Hypervisor, config: PodConfig, plan: MachinePlan
) -> tuple[TemplateFit, MachinePlan]:
    """The template that a pod begins as, and the plan of the machine that does.

    One of the pod's own size if it is there; otherwise of the usual size, where the machine can
    grow from that to what the pod wants, so that pods of many sizes share one template.
    """
    fit = await _fit(ctx, hypervisor, config, plan)
    usual = replace(plan, vcpus=ctx.settings.pod.vcpus, memory=ctx.settings.pod.memory)
    if not fit.key or usual == plan or Shelf(ctx.settings).get(fit.key):
        return fit, plan
    smaller = await _fit(ctx, hypervisor, config, usual)
    return (smaller, usual) if _grows(usual, plan, smaller.most) else (fit, plan)


def _grows(usual: MachinePlan, wanted: MachinePlan, most: Size) -> bool:
    """Whether a running machine of the usual size can be given exactly what is wanted."""
    more = wanted.memory - usual.memory
    return (
        usual.vcpus <= wanted.vcpus <= max(most.vcpus, usual.vcpus)
        and 0 <= more <= (_MOST_GROWTH - 1) * usual.memory
        and more % Size.BLOCK == 0
        and wanted.memory <= max(most.memory, usual.memory)
    )


@contextlib.asynccontextmanager
async def _template(
    ctx: Context, hypervisor: Hypervisor, plan: MachinePlan, key: str, progress: Progress
) -> AsyncIterator[SavedGuest]:
    """The saved guest, which stays as long as the block; built where there is none."""
    shelf = Shelf(ctx.settings)
    shelf.prepare()
    for _ in range(2):  # between building and using it another may need its room
        async with shelf.using(key) as found:
            if found is not None:
                shelf.touch(key)
                yield shelf.guest(key)
                return
        async with shelf.alone(key):
            if shelf.get(key) is None:
                progress("building a template, once")
                await _build(ctx, hypervisor, plan, key, shelf)
    raise HostProblem(f"template {key} was removed as soon as it was built; try again")


def _recall(guest: SavedGuest, log: Path) -> None:
    """What the guest said while it booted belongs into the log of the pod that goes on as it."""
    with contextlib.suppress(OSError), log.open("ab") as file:
        file.write(guest.console.read_bytes()[-_CONSOLE_KEPT:] + _FROM_HERE)


async def _build(
    ctx: Context, hypervisor: Hypervisor, plan: MachinePlan, key: str, shelf: Shelf
) -> None:
    """Boot a guest that is nobody's, up to its agent's first answer, and save it."""
    async with Rollback() as undo:
        undo.push(shelf.clear, key)
        async with shelf.allotting():
            await shelf.make_room(key, plan.memory)
            draft = shelf.start_draft(key, plan.memory)
        nobodys = replace(nobodys_plan(plan, draft), memory_file=draft / "memory")
        booted = await hypervisor.start(nobodys)
        undo.push(_end, hypervisor, nobodys, booted)
        try:
            async with asyncio.timeout(ctx.settings.timeouts.start):
                await hypervisor.opened(draft, booted, plan.ports[0].name)
                await _greet(ctx, nobodys)
        except TimeoutError as error:
            raise AgentUnreachable(
                "the agent in the template's guest did not answer within "
                f"{ctx.settings.timeouts.start:g} s; raise timeouts.start"
            ) from error
        await hypervisor.save(draft, booted, draft / "state")
        await _end(hypervisor, nobodys, booted)
        moment = now()
        shelf.publish(
            Template(
                key=key,
                created=moment,
                used=moment,
                machine_type=plan.config.hypervisor_machine_type,
                vcpus=plan.vcpus,
                memory=plan.memory,
                kernel=str(plan.kernel),
                initrd=str(plan.initrd),
            ),
            probe.find_program(plan.hypervisor_path),
        )
        undo.keep()


def nobodys_plan(plan: MachinePlan, folder: Path) -> MachinePlan:
    """The plan of a machine like the pod's, but of no pod, in a folder of its own."""
    return replace(
        plan,
        pod_id=folder.name.partition(".")[0],
        uuid=str(uuid.uuid4()),
        run_dir=folder,
        ports=tuple(replace(port, socket=folder / port.socket.name) for port in plan.ports),
        shares=tuple(replace(share, path=folder / "share") for share in plan.shares[:1]),
        netns=None,
        endpoints=(),
    )


async def _greet(ctx: Context, plan: MachinePlan) -> None:
    agent = registry.agent(AgentType.KATA, ctx.settings)
    try:
        await agent.connect(f"unix://{plan.ports[0].socket}", timeout=ctx.settings.timeouts.agent)
        await agent.prepare()
    finally:
        await agent.close()


async def _end(hypervisor: Hypervisor, plan: MachinePlan, booted: Machine) -> None:
    await hypervisor.stop(plan.run_dir, booted, timeout=_GOODBYE)


async def restored(ctx: Context, hypervisor: Hypervisor, plan: MachinePlan, key: str) -> Machine:
    """Start a machine that goes on as the template `key`.

    Raises:
        VctuiError: it cannot be; the template is not used again.
    """
    try:
        started = await hypervisor.start(plan)
        return msgspec.structs.replace(started, template=key)
    except VctuiError:
        # one that cannot be restored serves nobody: the next pod builds it anew
        with contextlib.suppress(OSError):
            (Shelf(ctx.settings).place(key) / "manifest.json").unlink()
        raise
