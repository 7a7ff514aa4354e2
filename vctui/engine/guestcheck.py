"""What a guest of the operator's own says when it is booted."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from vctui.engine import guests, pod
from vctui.engine.context import Context, Progress
from vctui.errors import NotFound
from vctui.model import ids
from vctui.model.guest import GuestReport
from vctui.model.pod import PodConfig

PREFIX: Final = "guest-check-"
"""Begins the ids of pods that are booted to be asked and deleted again."""


async def check(ctx: Context, name: str, progress: Progress) -> GuestReport:
    """Boot a pod without containers in the guest, ask its agent, and delete it.

    Raises what creating and starting a pod raises.
    """
    guest = guests.get(ctx, name)
    config = PodConfig(id=f"{PREFIX}{name}"[: ids.MAX_LENGTH], guest=name)
    begun = time.monotonic()
    await pod.run(ctx, config, progress)
    seconds = time.monotonic() - begun
    try:
        async with ctx.agent(ctx.store.pod(config.id)) as agent:
            said = await agent.info()
    finally:
        with contextlib.suppress(NotFound):
            await pod.delete(ctx, config.id, progress)
    return GuestReport(
        name=guest.name,
        agent=said.version,
        protocol=said.protocol,
        seconds=round(seconds, 2),
        storage_handlers=said.storage_handlers,
        device_handlers=said.device_handlers,
        supports_seccomp=said.supports_seccomp,
        features=tuple(sorted(said.features)),
    )
