"""Whole `pod run` commands: pods that begin as a template, and pods that take a ready guest."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.boots import POD
from tests.bench.figures import Figure
from tests.bench.host import PROGRAM, Bench, cpu, pss_mb, yardstick
from vctui import settings
from vctui.engine.pool import Pool
from vctui.engine.runtime import Runtime
from vctui.model.logs import LogSource
from vctui.settings import Settings

_OWN_REACH: Final = 120
"""MB of an idle machine of 256 MiB, beside what all of its template share."""
_READY: Final = 120.0
"""Seconds for a guest to become ready."""
_LOOK: Final = 0.2


@dataclass(frozen=True, slots=True)
class Start:
    wall: float
    """Seconds from the command's start to the time in the first line of the container's log."""
    cpu: float
    """Seconds of processor time of the command, and of QEMU for it, by the command's end."""
    memory: float
    """QEMU's own in MB then."""
    exec_wall: float
    """Seconds of the first `container exec -- true`, at once after that."""
    exec_cpu: float


async def figures(bench: Bench) -> list[Figure]:
    yards: list[float] = []
    restored = await _from_template(bench, yards)
    taken = await _from_pool(bench, yards)
    return [
        _seconds("first-output", f"{_RUN}, from a template", 0.6, restored, yards),
        _seconds("first-output-ready", f"{_RUN}, from the pool", 0.6, taken, yards),
        Figure(
            key="exec-early",
            name="the first container exec -- true after that, whole command",
            samples=[start.exec_wall for start in restored],
            unit="s",
            reach=0.35,
            costs=[start.exec_cpu for start in restored],
            yards=yards,
        ),
        Figure(
            key="qemu-memory-own",
            name="memory of a QEMU that began as a template (PSS)",
            samples=[start.memory for start in restored],
            unit="MB",
            reach=_OWN_REACH,
            costs=[start.memory / _OWN_REACH for start in restored],
            tolerance=0.5,  # others share what QEMU maps
        ),
    ]


_RUN: Final = "pod run to the container's first output"


def _seconds(key: str, name: str, reach: float, starts: list[Start], yards: list[float]) -> Figure:
    return Figure(
        key=key,
        name=name,
        samples=[start.wall for start in starts],
        unit="s",
        reach=reach,
        costs=[start.cpu for start in starts],
        yards=yards,
    )


async def _from_template(bench: Bench, yards: list[float]) -> list[Start]:
    starts = []
    async with Runtime(bench.settings) as runtime:
        for count in range(bench.runs + 1):
            yards.append(yardstick())
            start = await _start(bench, runtime, ())
            if count:  # the first one has built the template
                starts.append(start)
    return starts


async def _from_pool(bench: Bench, yards: list[float]) -> list[Start]:
    file = bench.settings.run_dir / "pool.toml"
    file.write_text("[template]\npool = 1\n", encoding="utf-8")
    folders = {
        name: str(getattr(bench.settings, name)) for name in ("run_dir", "state_dir", "cache_dir")
    }
    pooled = settings.load(file, folders)
    starts = []
    try:
        async with Runtime(pooled) as runtime:
            for _ in range(bench.runs):
                runtime.fill_pool()
                before = await _ready(pooled)
                yards.append(yardstick())
                start = await _start(bench, runtime, ("--config", str(file)), before=before)
                starts.append(start)
            await _ready(pooled)  # who fills the pool has nothing left to do
    finally:
        async with Runtime(bench.settings):  # whose pool is off ends what waits
            pass
    return starts


async def _ready(pooled: Settings) -> float:
    """Wait for a ready guest; the processor time that its QEMU has used. Raises TimeoutError."""
    pool = Pool(pooled)
    async with asyncio.timeout(_READY):
        while not (ready := pool.ready()):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(_LOOK)
    return cpu(ready[0].machine.pid)


async def _start(
    bench: Bench, runtime: Runtime, options: tuple[str, ...], *, before: float = 0.0
) -> Start:
    """Run the pod by a command, look, and delete it.

    Args:
        before: seconds that its QEMU has used already.
    """
    file = _pod_file(bench.settings.run_dir)
    begin = time.time()
    ran = await asyncio.to_thread(bench.run, (PROGRAM, *options, "pod", "run", str(file)))
    status = await runtime.status_pod(POD.id)
    if status.machine is None:
        raise RuntimeError("the pod has no machine")
    pids = (status.machine.pid, status.monitor_pid)
    used, memory = ran.cpu + cpu(pids[0]) - before, pss_mb(pids[0])
    then = cpu(*pids)
    command = (PROGRAM, *options, "container", "exec", POD.id, "main", "--", "true")
    added = await asyncio.to_thread(bench.run, command)
    exec_cpu = added.cpu + cpu(*pids) - then
    first = 0.0
    async for line in runtime.logs(POD.id, LogSource.CONTAINER, "main", follow=True):
        if line.time is None:
            raise RuntimeError("the line has no time")
        first = line.time.timestamp()
        break
    await runtime.delete_pod(POD.id)
    return Start(first - begin, used, memory, added.wall, exec_cpu)


def _pod_file(folder: Path) -> Path:
    file = folder / "bench.json"
    args = [*POD.containers[0].cmd.args]
    container = {"id": "main", "rootfs": "busybox", "cmd": {"args": args}}
    file.write_bytes(msgspec.json.encode({"id": POD.id, "containers": [container]}))
    return file
