"""A process's stdin, stdout, stderr and terminal size; the guest's serial console."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vctui.drivers.shims.base import Attachment
from vctui.engine import container
from vctui.engine.change import shared
from vctui.engine.context import Context
from vctui.errors import NotFound, VctuiError
from vctui.model.kinds import Signal
from vctui.model.state import LIVE, check_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vctui.model.container import Cmd


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
        check_state("pod", pod_id, record.state, LIVE, "attach to a container of")
        return await ctx.shim(record).attach(
            ctx.paths(pod_id).run,
            token or container_id,
            replay=replay,
            rows=rows,
            columns=columns,
        )


@contextlib.asynccontextmanager
async def errand(
    ctx: Context, pod_id: str, container_id: str, cmd: Cmd
) -> AsyncIterator[Attachment]:
    """One more process in a running container, which does not outlive the block.

    Raises:
        NotFound, WrongState, AgentError: it cannot be started.
    """
    process = await container.enter(ctx, pod_id, container_id, cmd)
    ended = False
    try:
        attachment = await attach(ctx, pod_id, container_id, process.token)
        try:
            yield attachment
        finally:
            await attachment.detach()
            ended = attachment.exit_code is not None
    finally:
        if not ended:
            await _kill(ctx, pod_id, container_id, process.token)


async def _kill(ctx: Context, pod_id: str, container_id: str, token: str) -> None:
    """Not every agent can, and the process may have ended."""
    with contextlib.suppress(VctuiError):
        async with shared(ctx, pod_id) as record, ctx.agent(record) as agent:
            await agent.signal(container_id, token, Signal.KILL, all=False)


async def console(ctx: Context, pod_id: str, *, replay: int = 0) -> Attachment:
    """Join the serial console, also while the pod boots."""
    record = ctx.store.pod(pod_id)
    if record.machine is None:
        check_state("pod", pod_id, record.state, LIVE, "open the console of")
    return await ctx.shim(record).console(ctx.paths(pod_id).run, replay=replay)
