"""Watches the programs that serve folders to the guest (virtiofsd).

A guest that loses one waits for ever for each answer that is missing, and no other can take its
place, as nobody else knows what it has promised. So the machine is ended with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from vctui.companions.monitor import foreign_log
from vctui.companions.monitor.lines import clean
from vctui.linux import files, process
from vctui.model.hypervisor import Daemon


async def first_end(daemons: Sequence[Daemon], run_dir: Path) -> str:
    """Return in words which of them ended, when one has; with none, never."""
    if not daemons:
        await asyncio.Event().wait()
    from vctui.drivers.storage import virtiofs

    logs = [virtiofs.log_file(run_dir, number) for number in range(len(daemons))]
    waiting = [
        asyncio.create_task(_end(daemon, log)) for daemon, log in zip(daemons, logs, strict=True)
    ]
    tasks = (*waiting, asyncio.create_task(foreign_log.bound(logs)))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(task.result() for task in waiting if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(daemon: Daemon, log: Path) -> str:
    await process.wait_end(daemon.pid, daemon.started)
    words = files.tail(log, lines=1)
    said = f": {clean(words[-1])[:300]}" if words else ""
    return f"virtiofsd (process {daemon.pid}), which shows the guest {daemon.tag!r}, ended{said}"
