"""The monitor's way from a guest's output to the log file, with a scripted guest."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure
from tests.bench.host import Bench, cpu_exactly, rss_mb, yardstick
from tests.companions.conftest import POD, WAIT, Pod
from tests.fakes.fake_qemu import FakeQemu
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.linux import process
from vctui.model.state import State
from vctui.settings import Logs, Paths, Settings

_LINE: Final = b"the quick brown fox jumps over the lazy dog, as it does since %010d\n"


async def figures(bench: Bench) -> list[Figure]:
    rates, costs, yards, memories = [], [], [], []
    for _ in range(bench.runs):
        yards.append(yardstick())
        with tempfile.TemporaryDirectory(prefix="vctui-bench-") as folder:
            rate, used, memory = await _sample(Path(folder), bench.log_bytes)
        rates.append(rate)
        costs.append(used)
        memories.append(memory)
    return [
        Figure(
            key="log-rate",
            name="container's output through the monitor into its log",
            samples=rates,
            unit="MB/s",
            reach=20,
            costs=costs,
            yards=yards,
            more_is_better=True,
        ),
        Figure(
            key="monitor-memory",
            name="that monitor, memory (RSS)",
            samples=memories,
            unit="MB",
            reach=25,
            costs=[one / 25 for one in memories],
        ),
    ]


async def _sample(root: Path, size: int) -> tuple[float, float, float]:
    """MB/s, seconds of processor time, MB of memory. Raises RuntimeError for a lost line."""
    run_dir = root / "run" / "pods" / POD
    (run_dir / "share").mkdir(parents=True)
    count = size // len(_LINE % 0)
    text = b"".join(_LINE % number for number in range(count))
    async with FakeQemu(run_dir) as qemu:
        pod = Pod(root, qemu)
        pod.record(state=State.READY, operation="start")
        paths, logs = Paths(state_dir=str(pod.state_dir)), Logs(max_bytes=2 * size + (64 << 20))
        proxy = BuiltinProxy(Settings(paths=paths, logs=logs))
        handle = await proxy.start(pod_id=POD, run_dir=run_dir)
        try:
            await qemu.open_port()
            await proxy.wait_agent(run_dir, timeout=WAIT)
            init = pod.agent.process("c1")
            await init.print(text)
            await init.end(0)
            before, begin = cpu_exactly(handle.pid), time.perf_counter()
            await pod.start_shim()
            await pod.shim.wait(run_dir, "c1")
            taken, used = time.perf_counter() - begin, cpu_exactly(handle.pid) - before
            memory = rss_mb(handle.pid)
        finally:
            await process.terminate(handle.pid, handle.pid_started, timeout=1.0)
            pod.store.close()
        kept = pod.container_log.read_bytes().count(b" stdout F ")
    if kept != count:
        raise RuntimeError(f"{count - kept} of {count} lines are not in the log")
    return len(text) / 1e6 / taken, used, memory
