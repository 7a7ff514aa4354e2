"""What a benchmark gives, and how it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. Less is better for all of them."""

    name: str
    samples: Sequence[float]
    unit: str
    reach: float
    """The design's figure (design section 11)."""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float:
        """Of the median to what is to be reached; 1 or less is reached."""
        return self.median / self.reach


def table(figures: Sequence[Figure]) -> str:
    rows = [("what", "median", "min", "max", "reach", "ratio", "")]
    rows += [
        (
            figure.name,
            f"{figure.median:.3g} {figure.unit}",
            f"{min(figure.samples):.3g}",
            f"{max(figure.samples):.3g}",
            f"{figure.reach:g} {figure.unit}",
            f"{figure.ratio:.2f}",
            figure.note or ("reached" if figure.ratio <= 1 else "not reached yet"),
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in {0, 6} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
