"""Processes added to a container of a real guest: their start, their output, their input."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tests.bench.boots import POD
from tests.bench.figures import Figure
from tests.bench.host import PROGRAM, Bench, cpu, yardstick
from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd

_OUTPUT: Final = 16 << 20
_INPUT: Final = 8 << 20


async def figures(bench: Bench) -> list[Figure]:
    async with Runtime(bench.settings) as runtime:
        status = await runtime.run_pod(POD)
        if status.machine is None:
            raise RuntimeError("the pod has no machine")
        pids = (status.machine.pid, status.monitor_pid)
        found = [await _commands(bench, pids), await _through_an_engine(bench, runtime, pids)]
        dd = Cmd(args=("dd", "if=/dev/zero", "bs=64k", f"count={_OUTPUT >> 16}"))
        for key, name, cmd, typed in (
            ("output", "output of a process, through to its client", dd, 0),
            ("input", "input to a process", Cmd(args=("sh", "-c", "cat >/dev/null")), _INPUT),
        ):
            found.append(await _stream(bench, runtime, pids, key, name, cmd, typed))
        await runtime.delete_pod(POD.id)
    return found


async def _commands(bench: Bench, pids: tuple[int, ...]) -> Figure:
    """The machine idles between them: what QEMU and the monitor use is theirs."""
    command = (PROGRAM, "container", "exec", POD.id, "main", "--", "true")
    samples, costs, yards = [], [], []
    for count in range(bench.runs * 2 + 1):
        yards.append(yardstick())
        before = cpu(*pids)
        ran = await asyncio.to_thread(bench.run, command)
        if count:
            samples.append(ran.wall)
            costs.append(ran.cpu + cpu(*pids) - before)
    return Figure(
        key="exec",
        name="container exec -- true, whole command",
        samples=samples,
        unit="s",
        reach=0.35,
        costs=costs,
        yards=yards,
    )


async def _through_an_engine(bench: Bench, runtime: Runtime, pids: tuple[int, ...]) -> Figure:
    """As an open console does it."""
    samples, yards, before = [], [yardstick() for _ in range(bench.runs)], 0.0
    for count in range(bench.runs * 4 + 1):
        begin = time.perf_counter()
        process = await runtime.enter_container(POD.id, "main", Cmd(args=("true",)))
        attachment = await runtime.attach(POD.id, "main", process.token)
        await attachment.close_stdin()
        async for _ in attachment:
            pass
        if count:
            samples.append(time.perf_counter() - begin)
        else:
            before = cpu(*pids)
    used = (cpu(*pids) - before) / len(samples)
    return Figure(
        key="exec-open",
        name="exec -- true through an open engine, start to end",
        samples=samples,
        unit="s",
        reach=0.1,
        costs=[used],
        yards=yards,
    )


async def _stream(
    bench: Bench,
    runtime: Runtime,
    pids: tuple[int, ...],
    key: str,
    name: str,
    cmd: Cmd,
    typed: int,
) -> Figure:
    samples, costs, yards = [], [], []
    for _ in range(bench.runs):
        yards.append(yardstick())
        process = await runtime.enter_container(POD.id, "main", cmd)
        attachment = await runtime.attach(POD.id, "main", process.token)
        before, begin, size = cpu(*pids), time.perf_counter(), typed
        if typed:
            await attachment.write(b"x" * typed)
        await attachment.close_stdin()
        async for output in attachment:
            size += len(output.data)
        samples.append(size / 1e6 / (time.perf_counter() - begin))
        costs.append((cpu(*pids) - before) / (size / 1e6))
    return Figure(
        key=key,
        name=name,
        samples=samples,
        unit="MB/s",
        reach=5,
        costs=costs,
        yards=yards,
        tolerance=1.0,  # emulated copying depends on the host's caches more than on us
        more_is_better=True,
    )
