"""`make bench`: whole commands and real guests, medians, and ratios to what is to be reached.

Single times say little on a shared machine; the ratios and their order do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.bench import console, guests, programs
from tests.bench.figures import Figure, table
from vctui import settings


async def measure(scratch: Path, runs: int) -> list[Figure]:
    host = settings.load(
        overrides={"run_dir": str(scratch / "run"), "state_dir": str(scratch / "state")}
    )
    return [
        *await programs.figures(host, runs),
        console.first_paint(host, runs),
        *await guests.figures(host, runs),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="samples of each figure")
    parser.add_argument("--json", type=Path, help="write the samples here, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vctui-bench-") as scratch:
        figures = asyncio.run(measure(Path(scratch), options.runs))
    sys.stdout.write(table(figures) + "\n")
    if options.json:
        samples = {
            figure.name: {
                "samples": list(figure.samples),
                "median": figure.median,
                "unit": figure.unit,
                "reach": figure.reach,
                "ratio": figure.ratio,
            }
            for figure in figures
        }
        options.json.write_text(json.dumps(samples, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
