"""No shim: processes are not there, so nothing stands for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from vctui.drivers.shims.base import Attachment, Shim, ShimParams
from vctui.errors import NotFound
from vctui.model.container import Process


class NoopShim(Shim):
    async def start(self, run_dir: Path, params: ShimParams) -> Process:
        return Process(token=params.token, pid=0, start_time=datetime.now(UTC))

    async def wait(self, run_dir: Path, token: str) -> int | None:
        return None

    async def attach(
        self, run_dir: Path, token: str, *, replay: int = 0, rows: int = 0, columns: int = 0
    ) -> Attachment:
        raise NotFound(
            f"pod {run_dir.name!r} has no process to attach to, as its shim is noopShim; "
            "use an agent and a shim that run processes"
        )

    async def console(self, run_dir: Path, *, replay: int = 0) -> Attachment:
        raise NotFound(
            f"pod {run_dir.name!r} has no console, as its shim is noopShim; "
            "use kataBuiltInShim to have one"
        )
