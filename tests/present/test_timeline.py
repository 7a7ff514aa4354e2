"""A timeline's rows: order, depth, pictures."""

from __future__ import annotations

from datetime import UTC, datetime

from vctui.model.timeline import Step, Timeline, Where
from vctui.present.timeline import BAR, rows


def timeline(*steps: Step, took: float = 10.0) -> Timeline:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    return Timeline(pod_id="web", operation="run", began=began, took=took, steps=steps)


def host(name: str, begin: float, took: float, depth: int) -> Step:
    return Step(name=name, begin=begin, took=took, depth=depth)


def guest(name: str, begin: float, took: float) -> Step:
    return Step(name=name, begin=begin, took=took, where=Where.GUEST)


def test_the_guests_steps_stand_below_the_hosts_that_waited_for_them():
    shown = rows(
        timeline(
            host("run", 0, 10, 0),
            host("wait", 1, 5, 1),
            guest("kernel", 0.98, 3),  # its clock is a little off
            guest("unpack", 1.5, 1),
            host("container", 7, 2, 1),
            guest("crun", 7.5, 1),
            guest("before", -3, 1),
        )
    )
    assert [row.label for row in shown] == [
        "before",
        "run",
        "  wait",
        "    kernel",
        "      unpack",
        "  container",
        "    crun",
    ]


def test_bars_show_when_it_was():
    whole, half, short = rows(
        timeline(host("run", 0, 10, 0), host("half", 5, 5, 1), host("short", 9.99, 0.001, 1))
    )
    assert whole.bar == "█" * BAR
    assert half.bar == " " * (BAR // 2) + "█" * (BAR // 2)
    assert short.bar == " " * (BAR - 1) + "▏"


def test_names_are_made_safe_and_nothing_that_took_no_time_has_a_bar():
    (row,) = rows(timeline(host("\x1b[31mred\n", 0, 0, 0), took=0))
    assert "\x1b" not in row.label
    assert "\n" not in row.label
    assert row.bar == ""
