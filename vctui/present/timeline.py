"""A timeline as rows: each part below its whole, the guest's steps below the host's that waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vctui.model.timeline import Step, Timeline, Where
from vctui.present.columns import Cell, Column
from vctui.present.humanize import plain

BAR: Final = 32
"""Columns of the picture."""


@dataclass(frozen=True, slots=True)
class Row:
    step: Step
    depth: int
    bar: str
    """When in the operation it was."""

    @property
    def label(self) -> str:
        return "  " * self.depth + plain(self.step.name)


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(
        id="step",
        title="STEP",
        cell=lambda row, now: Cell(row.label),
        sort_key=lambda row: row.step.begin,
        width=36,
        most=60,
    ),
    Column(
        id="where",
        title="WHERE",
        cell=lambda row, now: Cell(row.step.where.value, "muted"),
        sort_key=lambda row: row.step.where.value,
        width=5,
        priority=2,
    ),
    Column(
        id="begin",
        title="FROM",
        cell=lambda row, now: Cell(milliseconds(row.step.begin), "muted"),
        sort_key=lambda row: row.step.begin,
        width=8,
        align="right",
        priority=1,
    ),
    Column(
        id="took",
        title="TOOK",
        cell=lambda row, now: Cell(milliseconds(row.step.took)),
        sort_key=lambda row: row.step.took,
        width=8,
        align="right",
    ),
    Column(
        id="bar",
        title="",
        cell=lambda row, now: Cell(row.bar, "state-running"),
        sort_key=lambda row: row.step.begin,
        width=BAR,
        priority=3,
    ),
)


def rows(timeline: Timeline, bar: int = BAR) -> tuple[Row, ...]:
    """With pictures of `bar` columns."""
    host = [step for step in timeline.steps if step.where is Where.HOST]
    below: dict[int, list[Step]] = {}
    for step in timeline.steps:
        if step.where is Where.GUEST:
            below.setdefault(_waiting(host, step), []).append(step)
    found: list[tuple[Step, int]] = _nested(below.get(-1, []), 0)
    for index, step in enumerate(host):
        found.append((step, step.depth))
        found += _nested(below.get(index, []), step.depth + 1)
    return tuple(Row(step, depth, _bar(step, timeline.took, bar)) for step, depth in found)


def _waiting(host: list[Step], step: Step) -> int:
    """Which of the host's steps was under way in the middle of the guest's; -1: none was.

    The middle, because the two clocks are some milliseconds apart.
    """
    middle = step.begin + step.took / 2
    around = [
        (one.depth, index)
        for index, one in enumerate(host)
        if one.begin <= middle <= one.begin + one.took
    ]
    return max(around)[1] if around else -1


def _nested(steps: list[Step], depth: int) -> list[tuple[Step, int]]:
    """The guest's steps in order, each below those that contain it."""
    found: list[tuple[Step, int]] = []
    open_until: list[float] = []
    for step in sorted(steps, key=lambda one: (one.begin, -one.took)):
        while open_until and open_until[-1] < step.begin + step.took:
            open_until.pop()
        found.append((step, depth + len(open_until)))
        open_until.append(step.begin + step.took)
    return found


def _bar(step: Step, whole: float, width: int) -> str:
    if whole <= 0 or width <= 0:
        return ""
    first = min(max(int(step.begin / whole * width), 0), width - 1)
    last = min(max(int((step.begin + step.took) / whole * width), first + 1), width)
    thin = step.took / whole * width < 0.5
    return " " * first + ("▏" if thin else "█" * (last - first))


def milliseconds(seconds: float) -> str:
    """`4213 ms`, `0.4 ms`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
