"""The costs of an earlier commit, and whether today's are worse. Pure but for two functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.figures import Figure

FILE: Final = Path(__file__).with_name("saved.json")
"""Under version control: a commit that changes a cost for good saves it anew."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    unit: str
    median: float
    samples: tuple[float, ...]
    reach: float
    ratio: float
    cost: float


def results(figures: Sequence[Figure]) -> dict[str, Result]:
    return {
        figure.key: Result(
            name=figure.name,
            unit=figure.unit,
            median=figure.median,
            samples=tuple(figure.samples),
            reach=figure.reach,
            ratio=figure.ratio,
            cost=figure.cost,
        )
        for figure in figures
    }


def regressions(figures: Sequence[Figure], saved: Mapping[str, float]) -> list[str]:
    """A sentence for each figure whose cost has risen beyond its tolerance."""
    return [
        f"{figure.name}: the cost is {figure.cost:.3g}, was {was:.3g} "
        f"({figure.cost / was - 1:+.0%})"
        for figure in figures
        if (was := saved.get(figure.key)) and figure.cost > was * (1 + figure.tolerance)
    ]


def write(path: Path, figures: Sequence[Figure], *, keep: bool = False) -> None:
    """With `keep`, results of figures that were not measured stay in the file."""
    there = _read(path) if keep else {}
    document = msgspec.json.encode({**there, **results(figures)}, order="sorted")
    path.write_bytes(msgspec.json.format(document, indent=2) + b"\n")


def costs(path: Path) -> dict[str, float]:
    """By key; none where nothing was saved."""
    return {key: result.cost for key, result in _read(path).items()}


def _read(path: Path) -> dict[str, Result]:
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Result])
