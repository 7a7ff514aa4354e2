"""The processes of a container: from its agent, or where that has no list, from `ps` run in the
container itself.

The Kata agent's protocol of today has no ListProcesses (kata-agent ttrpc sheet §2.1).
"""

from __future__ import annotations

import msgspec

from vctui.engine import container, oneshot
from vctui.engine.change import shared
from vctui.engine.context import Context
from vctui.errors import AgentError, AgentUnsupported
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.kinds import ProcessListFormat

MAX_OUTPUT = 1024 * 1024
"""Bytes of a process list; what is more is left out."""


async def process_list(
    ctx: Context, pod_id: str, container_id: str, options: ProcessListOptions
) -> bytes:
    """JSON or a table, as `options` say (API: ProcessListContainer)."""
    async with shared(ctx, pod_id) as record:
        container.check_running(record, container_id, "list processes of")
        async with ctx.agent(record) as agent:
            try:
                return await agent.processes(container_id, options)
            except AgentUnsupported:
                pass
    return await _run(ctx, pod_id, container_id, options)


async def _run(ctx: Context, pod_id: str, container_id: str, options: ProcessListOptions) -> bytes:
    """Raises AgentError where the container has no `ps`, or it fails or does not end."""
    said = await oneshot.run(
        ctx,
        pod_id,
        container_id,
        Cmd(args=("ps", *(options.args or ("-ef",)))),
        doing=f"list the processes of container {container_id!r}",
        most=MAX_OUTPUT,
    )
    if said.exit_code:
        lines = said.errors.decode(errors="replace").strip().splitlines()
        why = lines[0][:200] if lines else f"exit status {said.exit_code}"
        raise AgentError(f"`ps` failed in container {container_id!r}: {why}; try other arguments")
    if said.exit_code is None and len(said.output) <= MAX_OUTPUT:
        raise AgentError(
            f"`ps` did not end in container {container_id!r}: "
            f"{said.reason or 'the process went away'}; try again"
        )
    if options.format is ProcessListFormat.TABLE:
        return said.output
    return msgspec.json.encode(parse_table(said.output.decode(errors="replace")))


def parse_table(text: str) -> list[dict[str, object]]:
    """The rows of a ps table as objects with `pid`, `user` and `args` where it has them."""
    lines = text.splitlines()
    if not lines:
        return []
    header = lines[0].split()
    names = {"PID": "pid", "PPID": "ppid", "USER": "user", "UID": "user", "CMD": "args"}
    names |= {"COMMAND": "args", "ARGS": "args"}
    rows: list[dict[str, object]] = []
    for line in lines[1:]:
        cells = line.split(None, len(header) - 1)
        row: dict[str, object] = {}
        for title, cell in zip(header, cells, strict=False):
            name = names.get(title)
            if name in {"pid", "ppid"}:
                if not cell.isascii() or not cell.isdigit():
                    break
                row[name] = int(cell[:10])
            elif name:
                row[name] = cell
        else:
            if "pid" in row:
                rows.append(row)
    return rows
