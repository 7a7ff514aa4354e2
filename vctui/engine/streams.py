"""A process's stdin, stdout, stderr and terminal size; the guest's serial console."""

from __future__ import annotations

from vctui.drivers.shims.base import Attachment
from vctui.engine.change import shared
from vctui.engine.context import Context
from vctui.errors import NotFound
from vctui.model.state import State, check_state


async def attach(
    ctx: Context,
    pod_id: str,
    container_id: str,
    token: str = "",
    *,
    replay: int = 0,
    rows: int = 0,
    columns: int = 0,
) -> Attachment:
    """Join a process; `token` "" is the container's first one. Raises NotFound, WrongState."""
    async with shared(ctx, pod_id) as record:
        if not any(one.id == container_id for one in record.containers):
            raise NotFound(f"pod {pod_id!r} has no container {container_id!r}; list its containers")
        live = frozenset({State.RUNNING, State.PAUSED})
        check_state("pod", pod_id, record.state, live, "attach to a container of")
        return await ctx.shim(record).attach(
            ctx.paths(pod_id).run,
            token or container_id,
            replay=replay,
            rows=rows,
            columns=columns,
        )


async def console(ctx: Context, pod_id: str, *, replay: int = 0) -> Attachment:
    """Join the serial console, also while the pod boots."""
    record = ctx.store.pod(pod_id)
    if record.machine is None:
        raise_from = frozenset({State.RUNNING, State.PAUSED})
        check_state("pod", pod_id, record.state, raise_from, "open the console of")
    return await ctx.shim(record).console(ctx.paths(pod_id).run, replay=replay)
