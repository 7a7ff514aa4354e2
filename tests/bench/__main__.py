"""`make bench`: whole commands, a console and real guests, against what the design promises.

Single times say little on a shared machine. So each figure also has a cost: processor time
over a yardstick's, measured in turn with it. Costs are compared with those that an earlier
commit has saved; one that is a fifth higher fails. docs/performance.md explains the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.bench import (
    boots,
    console,
    crowd,
    execs,
    monitor,
    networks,
    programs,
    saved,
    shares,
    starts,
)
from tests.bench.figures import Figure, table
from tests.bench.host import Bench
from vctui import settings

Suite = Callable[[Bench], Awaitable[list[Figure]]]

SUITES: Final[dict[str, Suite]] = {
    "programs": programs.figures,
    "console": console.figures,
    "crowd": crowd.figures,
    "monitor": monitor.figures,
    "boots": boots.figures,
    "starts": starts.figures,
    "execs": execs.figures,
    "networks": networks.figures,
    "shares": shares.figures,
}
"""In the order of the table; a new subject is a module with `figures` and a line here."""
WITHOUT_GUESTS: Final = ("programs", "console", "crowd", "monitor")


async def measure(scratch: Path, runs: int, suites: list[str]) -> list[Figure]:
    found: list[Figure] = []
    for name in suites:
        overrides = {"run_dir": str(scratch / name / "run"), "state_dir": str(scratch / name / "s")}
        bench = Bench(settings=settings.load(overrides=overrides), runs=runs)
        sys.stderr.write(f"measuring {name}\n")
        found += await SUITES[name](bench)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="samples of each figure")
    parser.add_argument("--json", type=Path, help="write the results here, too")
    parser.add_argument("--save", action="store_true", help="compare later commits with this one")
    options = parser.parse_args()
    suites = options.suites or list(SUITES)
    with tempfile.TemporaryDirectory(prefix="vctui-bench-") as scratch:
        figures = asyncio.run(measure(Path(scratch), options.runs, suites))
    before = saved.costs(saved.FILE)
    sys.stdout.write(table(figures, before) + "\n")
    if options.json:
        saved.write(options.json, figures)
    if options.save:
        saved.write(saved.FILE, figures, keep=True)
        return 0
    worse = saved.regressions(figures, before)
    for sentence in worse:
        sys.stderr.write(f"error: {sentence}\n")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
