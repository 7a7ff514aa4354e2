"""A process that is added to a container for what it writes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vctui.engine import streams
from vctui.engine.context import Context
from vctui.errors import AgentError
from vctui.model.container import Cmd

if TYPE_CHECKING:
    from collections.abc import Callable

    from vctui.drivers.shims.base import Attachment

_MAX_ERRORS: Final = 4096
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    output: bytes
    """Once it is more than was asked for, the process is ended."""
    errors: bytes
    exit_code: int | None
    """None where it did not end by itself, or nobody knows how."""
    reason: str
    """Why nobody knows."""


async def run(
    ctx: Context,
    pod_id: str,
    container_id: str,
    cmd: Cmd,
    *,
    doing: str,
    most: int,
    data: bytes | None = None,
) -> Outcome:
    """What `cmd` makes of `data`; a guest that makes no progress for as long as an agent may take
    is given up.

    Args:
        doing: what it is for, in words: "read '/x' in container 'c1'".
        most: bytes of output; the guest is not trusted to be brief.

    Raises:
        CommandFailed: there is no such program.
        AgentError: it makes no progress.
    """
    patience = ctx.settings.timeouts.agent
    try:
        async with streams.errand(ctx, pod_id, container_id, cmd) as attachment:
            output, errors = await converse(attachment, data, patience=patience, most=most)
    except TimeoutError as error:
        raise AgentError(
            f"cannot {doing}: nothing moves for {patience:g} s; "
            "see what the container does, and try again"
        ) from error
    return Outcome(
        output=output, errors=errors, exit_code=attachment.exit_code, reason=attachment.reason
    )


async def converse(
    attachment: Attachment, data: bytes | None, *, patience: float, most: int
) -> tuple[bytes, bytes]:
    """Output and errors. Raises TimeoutError where neither side moves for `patience` seconds."""
    output, errors = bytearray(), bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(patience) as limit:

        def moved() -> None:
            limit.reschedule(loop.time() + patience)

        feeding = asyncio.create_task(_feed(attachment, data or b"", moved))
        try:
            async for piece in attachment:
                moved()
                if piece.stream == 1:
                    output.extend(piece.data)
                else:
                    errors.extend(piece.data[: _MAX_ERRORS - len(errors)])
                if len(output) > most:
                    break
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
    return bytes(output), bytes(errors)


async def _feed(attachment: Attachment, data: bytes, moved: Callable[[], None]) -> None:
    for at in range(0, len(data), _PIECE):
        await attachment.write(data[at : at + _PIECE])
        moved()
    await attachment.close_stdin()
