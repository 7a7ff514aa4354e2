"""The console's start, as a terminal sees it."""

from __future__ import annotations

import time

from tests.bench import mocks, terminal
from tests.bench.figures import Figure
from tests.bench.host import Bench, cpu, yardstick


async def figures(bench: Bench) -> list[Figure]:
    mocks.fill(bench.settings, bench.pods)
    samples, costs, yards = [], [], []
    for count in range(bench.runs + 1):
        yard = yardstick()
        begin = time.perf_counter()
        with terminal.opened(bench) as console:
            painted = console.until(lambda: mocks.name(0) in console.text, "pod")
            if count:
                samples.append(painted - begin)
                costs.append(cpu(console.pid))
                yards.append(yard)
    return [
        Figure(
            key="first-paint",
            name="console, start to its pods on screen",
            samples=samples,
            unit="s",
            reach=0.6,
            costs=costs,
            yards=yards,
        )
    ]
