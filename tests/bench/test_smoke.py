"""Every benchmark runs, with little to do: what it gives says nothing of speed here."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from tests.bench import storm
from tests.bench.__main__ import SUITES, WITHOUT_GUESTS
from tests.bench.host import PROGRAM, Bench
from vctui import settings
from vctui.linux import probe

pytestmark = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="needs the installed program: make .venv/.dev"
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folders = {"run_dir": str(tmp_path / "run"), "state_dir": str(tmp_path / "state")}
    host = settings.load(overrides=folders)
    return Bench(settings=host, runs=1, pods=3, crowd=40, between=0.02, log_bytes=1_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("suite", WITHOUT_GUESTS)
async def test_a_benchmark_gives_figures(bench: Bench, suite: str) -> None:
    await measure(bench, suite)


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.parametrize("suite", [name for name in SUITES if name not in WITHOUT_GUESTS])
async def test_a_benchmark_of_guests_gives_figures(bench: Bench, suite: str) -> None:
    if suite == "networks" and not probe.is_root():
        pytest.skip("needs root")
    await measure(bench, suite)


async def measure(bench: Bench, suite: str) -> None:
    figures = await SUITES[suite](bench)
    assert figures
    assert len({figure.key for figure in figures}) == len(figures)
    for figure in figures:
        assert all(0 < sample < math.inf for sample in figure.samples), figure.name
        assert 0 < figure.cost < math.inf, figure.name


def test_the_lines_of_a_storm_are_numbered_without_gaps() -> None:
    first, number = storm.lines(0, 5000)
    second, _ = storm.lines(number, 5000)
    said = [int(line.split()[1]) for line in (first + second).splitlines()]
    assert said == list(range(len(said)))
