"""Figures against what is to be reached and against what an earlier commit has saved."""

from __future__ import annotations

from pathlib import Path

from tests.bench import saved
from tests.bench.__main__ import SUITES
from tests.bench.figures import Figure, table


def figure(*samples: float, cost: float = 1.0, more_is_better: bool = False) -> Figure:
    return Figure(
        key="start",
        name="start",
        samples=samples,
        unit="s",
        reach=2.0,
        costs=[cost],
        more_is_better=more_is_better,
    )


def test_a_ratio_of_one_is_just_reached_in_either_direction() -> None:
    assert figure(1.0, 2.0, 9.0).ratio == 1.0
    assert figure(4.0).ratio == 2.0
    assert figure(4.0, more_is_better=True).ratio == 0.5


def test_a_cost_a_fifth_higher_is_a_regression_and_a_lower_one_is_none() -> None:
    before = {"start": 1.0}
    assert saved.regressions([figure(1.0, cost=1.19)], before) == []
    assert saved.regressions([figure(1.0, cost=0.1)], before) == []
    (sentence,) = saved.regressions([figure(1.0, cost=1.25)], before)
    assert sentence == "start: the cost is 1.25, was 1 (+25%)"
    assert saved.regressions([figure(1.0, cost=9.0)], {"other": 1.0}) == []


def test_results_are_saved_beside_those_of_other_suites(tmp_path: Path) -> None:
    file = tmp_path / "saved.json"
    assert saved.costs(file) == {}
    saved.write(file, [figure(1.0, cost=3.0)])
    assert saved.costs(file) == {"start": 3.0}
    saved.write(file, [], keep=True)
    assert saved.costs(file) == {"start": 3.0}
    saved.write(file, [])
    assert saved.costs(file) == {}


def test_the_table_names_what_is_not_reached_and_what_changed() -> None:
    shown = table([figure(3.0, cost=1.5)], {"start": 1.0})
    assert "not reached" in shown
    assert shown.splitlines()[1].endswith("+50%")


def test_what_was_saved_is_of_figures_that_there_are() -> None:
    assert set(SUITES)
    assert saved.costs(saved.FILE)
