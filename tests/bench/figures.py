"""What a benchmark gives, and how it is shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_TITLES: Final = (
    *("what", "median", "min", "p95", "max", "reach", "ratio", "", "cost", "was", "change"),
)
_LEFT: Final = (0, 7)
"""Columns of words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    `samples` are what an operator sees and what the design promises; on a busy machine they say
    as much of its other users as of the code. `costs` and `yards` are for comparing one commit
    with another: processor time, and that of a yardstick which was measured in turn with it.
    Other users make both longer and never shorter, so the least of each count. Less is better.
    """

    key: str
    """Its name in the saved results."""
    name: str
    samples: Sequence[float]
    unit: str
    reach: float
    """The design's figure (design section 11)."""
    costs: Sequence[float]
    yards: Sequence[float] = (1.0,)
    tolerance: float = 0.2
    """By how much the cost may rise before it is a regression; more where little is measured."""
    more_is_better: bool = False
    """Of the samples."""
    each: bool = False
    """No sample may exceed `reach`, where otherwise the median may not."""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """What 19 of 20 samples do not exceed."""
        return sorted(self.samples)[math.ceil(len(self.samples) * 0.95) - 1]

    @property
    def ratio(self) -> float:
        """Of the median, or the worst, to what is to be reached; 1 or less is reached."""
        judged = max(self.samples) if self.each else self.median
        return self.reach / judged if self.more_is_better else judged / self.reach

    @property
    def cost(self) -> float:
        return min(self.costs) / min(self.yards)


def table(figures: Sequence[Figure], saved: Mapping[str, float]) -> str:
    """Figures beside the costs that were saved by key."""
    rows = [_TITLES, *(_row(figure, saved.get(figure.key)) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(figure: Figure, was: float | None) -> tuple[str, ...]:
    return (
        figure.name,
        f"{figure.median:.3g} {figure.unit}",
        f"{min(figure.samples):.3g}",
        f"{figure.p95:.3g}",
        f"{max(figure.samples):.3g}",
        f"{figure.reach:g} {figure.unit}",
        f"{figure.ratio:.2f}",
        "reached" if figure.ratio <= 1 else "not reached",
        f"{figure.cost:.3g}",
        "-" if was is None else f"{was:.3g}",
        "-" if was is None else f"{figure.cost / was - 1:+.0%}",
    )
