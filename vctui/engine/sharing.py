"""The programs that serve a machine's folders to its guest, where the hypervisor does not."""

from __future__ import annotations

import msgspec

from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.storage import virtiofs
from vctui.engine import templates
from vctui.engine.context import Context, Progress
from vctui.errors import VctuiError
from vctui.model.hypervisor import Machine
from vctui.model.pod import PodConfig
from vctui.telemetry.trace import span


async def check(ctx: Context, plan: MachinePlan) -> virtiofs.Program | None:
    """The program that the machine's folders need; None where they need none.

    Raises:
        MissingProgram, PermissionProblem, HostProblem: there is none that would do.
    """
    if not any(share.socket for share in plan.shares):
        return None
    program = await virtiofs.examine(virtiofs.find(ctx.settings.qemu.virtiofsd))
    virtiofs.check(program)
    return program


async def boot(
    ctx: Context,
    config: PodConfig,
    plan: MachinePlan,
    program: virtiofs.Program | None,
    progress: Progress,
    ready: Machine | None,
) -> Machine:
    """As `templates.boot`, with what serves the machine's folders started before it.

    What was started is ended with the pod's folder (`recovery.reclaim`).

    Args:
        program: what `check` found.
        ready: of the pool; no such machine has its folders served.
    """
    if program is None:
        return await templates.boot(ctx, config, plan, progress, ready)
    with span("start virtiofsd"):
        daemons = virtiofs.serve(plan.shares, program)
    try:
        started = await templates.boot(ctx, config, plan, progress)
    except VctuiError as error:
        if words := virtiofs.last_words(plan.run_dir, daemons):
            error.add_note(words)
        raise
    return msgspec.structs.replace(started, daemons=daemons)
