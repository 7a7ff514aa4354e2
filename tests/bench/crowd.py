"""A console with a thousand pods of which fifty change each second, beside a log of 20 MB/s."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import mocks, terminal
from tests.bench.figures import Figure
from tests.bench.host import Bench, cpu, cpu_exactly, rss_mb, yardstick
from tests.bench.terminal import Terminal

CHANGES: Final = 50
RATE: Final = 20_000_000
_ROOT: Final = Path(__file__).parents[2]
_WARM: Final = 1.0
"""Seconds of load before anything is measured."""
_ROUGH: Final = 1.0
"""Tolerance: a key comes sooner or later after the last picture was painted."""
_LUCK: Final = 9.0
"""The same under load: what else the console does just then counts with it."""
_BETWEEN: Final = 0.2
"""Seconds between two pairs of keys."""


async def figures(bench: Bench) -> list[Figure]:
    mocks.fill(bench.settings, bench.crowd)
    log = bench.settings.run_dir / "pods" / mocks.name(0) / "logs" / "containers" / "main.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    yards = [yardstick() for _ in range(bench.runs)]
    with terminal.opened(bench) as console:
        console.until(lambda: console.selected == mocks.name(0), "pod under the cursor")
        calm, calm_costs = _keys(bench, console)
        console.press(b"3")
        console.until(lambda: "Log" in console.text, "log")
        with subprocess.Popen(
            (
                *(sys.executable, "-m", "tests.bench.storm", str(bench.settings.state_dir)),
                *(str(log), str(bench.crowd), str(CHANGES), str(RATE)),
            ),
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as storm:
            console.until(lambda: "request" in console.text, "line of the log")
            console.idle(_WARM)
            loaded, loaded_costs = _keys(bench, console)
            before, begin = cpu(console.pid), time.perf_counter()
            console.idle(2.0)
            busy = (cpu(console.pid) - before) / (time.perf_counter() - begin)
            memory = rss_mb(console.pid)
            said, _ = storm.communicate(b"\n")
    _, changed, written = map(int, said.split())
    if not changed or not written:
        raise RuntimeError("the storm did nothing")
    return [
        _latency("key", f"a key, {bench.crowd} pods at rest", calm, calm_costs, yards, _ROUGH),
        _latency(
            "key-under-load",
            f"a key, {bench.crowd} pods, {CHANGES} changes/s, log of {RATE // 10**6} MB/s",
            loaded,
            loaded_costs,
            yards,
            _LUCK,
        ),
        Figure(
            key="console-busy",
            name="that console, processors it keeps busy",
            samples=[busy],
            unit="",
            reach=1.0,
            costs=[busy],
            tolerance=_ROUGH,
        ),
        Figure(
            key="console-memory",
            name="that console, memory (RSS)",
            samples=[memory],
            unit="MB",
            reach=150,
            costs=[memory / 150],
        ),
    ]


def _latency(
    key: str, name: str, samples: list[float], cost: float, yards: list[float], tolerance: float
) -> Figure:
    return Figure(
        key=key,
        name=name,
        samples=samples,
        unit="ms",
        reach=50,
        costs=[cost],
        yards=yards,
        tolerance=tolerance,
    )


def _keys(bench: Bench, console: Terminal) -> tuple[list[float], float]:
    """Milliseconds from a key to the cursor on the next pod, down and at once up again: so the
    log of the first one is still followed. And the least processor time that one took."""
    samples, used = [], []
    for count in range(bench.runs * 4):
        key, wanted = (b"j", mocks.name(1)) if count % 2 == 0 else (b"k", mocks.name(0))
        if count % 2 == 0:
            console.idle(_BETWEEN)
        before, begin = cpu_exactly(console.pid), time.perf_counter()
        console.press(key)
        samples.append((console.until(_selects(console, wanted), wanted) - begin) * 1000)
        used.append(cpu_exactly(console.pid) - before)
    return samples, min(used)


def _selects(console: Terminal, wanted: str) -> Callable[[], bool]:
    return lambda: console.selected == wanted
