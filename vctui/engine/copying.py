"""One file into and out of a running container: by its agent, or where that has no words for it by
a process in the container. Its paths are the container's own; the host looks none of them up.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from vctui.engine import container, oneshot
from vctui.engine.change import shared
from vctui.engine.context import Context
from vctui.errors import (
    AgentError,
    AgentUnreachable,
    AgentUnsupported,
    CommandFailed,
    InvalidInput,
    NotFound,
)
from vctui.model.container import Cmd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from vctui.drivers.agents.base import Agent

MAX_FILE: Final = 64 * 1024 * 1024
"""Bytes of a file that is copied; it is held in memory."""
_MAX_PATH: Final = 4095
_CANNOT_RUN: Final = (126, 127)
_CHECK: Final = 'if [ -e "$1" ] && [ ! -f "$1" ]; then echo "$1: not a file" >&2; exit 1; fi; '
_READ: Final = _CHECK + f'exec head -c {MAX_FILE + 1} "$1"'
_WRITE: Final = _CHECK + 'cat > "$1" && wc -c < "$1"'
"""Says how much has arrived: hyperstart drops input that a process does not read at once."""


async def read_file(ctx: Context, pod_id: str, container_id: str, path: str) -> bytes:
    """What is in a file of a container.

    Raises:
        InvalidInput: the path is not absolute, or the file is longer than MAX_FILE.
        WrongState, AgentError: it does not run; there is no such file, or nobody to read it.
    """
    _check_path(path)
    refusal: AgentError | None = None
    try:
        async with _asking(ctx, pod_id, container_id) as agent:
            if data := await agent.read_file(container_id, path):
                return data  # where hyperstart sees no length, as of /proc, a process sees more
    except AgentUnreachable:
        raise
    except AgentError as error:
        refusal = error
    doing = f"read {path!r} in container {container_id!r}"
    data = await _or(refusal, doing, _run(ctx, pod_id, container_id, (_READ, path), doing))
    if len(data) > MAX_FILE:
        raise too_long(f"{path!r} in container {container_id!r}")
    return data


async def write_file(ctx: Context, pod_id: str, container_id: str, path: str, data: bytes) -> None:
    """Make or replace a file of a container; one that is there keeps its mode and owner.

    Raises:
        InvalidInput: the path is not absolute, or `data` is longer than MAX_FILE.
        WrongState, AgentError: it does not run; the file cannot be made, or there is nobody to.
    """
    _check_path(path)
    if len(data) > MAX_FILE:
        raise too_long("what is to be copied")
    refusal: AgentError
    try:
        async with _asking(ctx, pod_id, container_id) as agent:
            await agent.write_file(container_id, path, data)
            return
    except AgentUnreachable:
        raise
    except AgentError as error:
        refusal = error
    doing = f"write {path!r} in container {container_id!r}"
    said = await _or(refusal, doing, _run(ctx, pod_id, container_id, (_WRITE, path), doing, data))
    arrived = said.strip()[:20].decode(errors="replace")
    if arrived != str(len(data)):
        count = arrived if arrived.isdigit() else "nobody knows how many"
        raise AgentError(
            f"cannot {doing}: of {len(data)} bytes {count} are in it; "
            "copy it again, or mount a folder of the host"
        )


def too_long(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} is longer than {MAX_FILE // 1024**2} MiB, which is as much as is copied; "
        "mount a folder of the host in the container"
    )


@contextlib.asynccontextmanager
async def _asking(ctx: Context, pod_id: str, container_id: str) -> AsyncIterator[Agent]:
    async with shared(ctx, pod_id) as record:
        container.check_running(record, container_id, "copy a file of")
        async with ctx.agent(record) as agent:
            yield agent


def _check_path(path: str) -> None:
    try:
        usable = path.startswith("/") and "\0" not in path and len(path.encode()) <= _MAX_PATH
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"{path[:80]!r} is no file of a container; give an absolute path of at most "
            f"{_MAX_PATH} bytes in UTF-8"
        )


async def _or(refusal: AgentError | None, doing: str, process: Awaitable[bytes]) -> bytes:
    """What the process says; where the container has no such program, or the pod nobody to run it
    (a mock's), why the agent did not, or nothing, if it did."""
    try:
        return await process
    except (CommandFailed, NotFound) as error:
        if refusal is None:
            return b""
        if not isinstance(refusal, AgentUnsupported):
            raise refusal from error
        raise AgentError(
            f"cannot {doing}: the agent has no command for it here, and the container lacks the "
            "programs sh, cat, wc and head; mount a folder of the host"
        ) from error


async def _run(
    ctx: Context,
    pod_id: str,
    container_id: str,
    script: tuple[str, str],
    doing: str,
    data: bytes | None = None,
) -> bytes:
    """What a script for the container's shell and its argument write that are given `data`.

    Raises:
        CommandFailed: there is no such program.
        AgentError: it says that it failed, or does not end.
    """
    text, path = script
    args = ("/bin/sh", "-c", text, "sh", path)
    cmd = Cmd(args=args, work_dir="/", stdin=data is not None)
    said = await oneshot.run(ctx, pod_id, container_id, cmd, doing=doing, most=MAX_FILE, data=data)
    if said.exit_code in _CANNOT_RUN:
        raise CommandFailed(
            f"cannot {doing}: {_why(said.errors, 'a program is missing')}",
            exit_code=said.exit_code,
        )
    if said.exit_code:
        why = _why(said.errors, f"exit status {said.exit_code}")
        raise AgentError(f"cannot {doing}: {why}; give another path")
    if said.exit_code is None and len(said.output) <= MAX_FILE:
        raise AgentError(f"cannot {doing}: {said.reason or 'the process went away'}")
    return said.output


def _why(errors: bytes, otherwise: str) -> str:
    """The end of what a program says of a file: `head: /x: No such file or directory`."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[0].rpartition(": ")[2][:200] if lines else otherwise
