"""Commands that need no guest, timed from outside as whole processes."""

from __future__ import annotations

from tests.bench import mocks
from tests.bench.figures import Figure
from tests.bench.host import PROGRAM, Bench, yardstick


async def figures(bench: Bench) -> list[Figure]:
    mocks.fill(bench.settings, bench.pods)
    return [
        _figure(bench, "help", "vctui --help", 0.15, "--help"),
        _figure(bench, "pod-list", f"vctui pod list, {bench.pods} mock pods", 0.2, "pod", "list"),
    ]


def _figure(bench: Bench, key: str, name: str, reach: float, *words: str) -> Figure:
    yards, runs = [], []
    for count in range(bench.runs * 2 + 1):
        yard, ran = yardstick(), bench.run((PROGRAM, *words))
        if count:
            yards.append(yard)
            runs.append(ran)
    return Figure(
        key=key,
        name=name,
        samples=[ran.wall for ran in runs],
        unit="s",
        reach=reach,
        costs=[ran.cpu for ran in runs],
        yards=yards,
    )
