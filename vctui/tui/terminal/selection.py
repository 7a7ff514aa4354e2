"""What the operator has marked with the mouse, in numbered rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vctui.tui.terminal.cells import Row, split_cells

_WORD: Final = re.compile(r"[\w./:@%+~=-]+")


@dataclass(frozen=True, slots=True)
class Point:
    """A cell: row by its number since the first row ever, column from 0."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Selection:
    """From one cell to another, both included; `head` moves with the mouse."""

    anchor: Point
    head: Point

    def columns(self, number: int, width: int) -> tuple[int, int] | None:
        """Which cells of row `number` are marked: start and end (exclusive)."""
        first, last = sorted((self.anchor, self.head), key=lambda p: (p.row, p.column))
        if not first.row <= number <= last.row:
            return None
        start = first.column if number == first.row else 0
        end = last.column + 1 if number == last.row else width
        return start, min(end, width)

    def text(self, row: Callable[[int], Row]) -> str:
        """What is marked, a line per row but for rows that the margin has wrapped."""
        parts = []
        first, last = sorted((self.anchor.row, self.head.row))
        for number in range(first, last + 1):
            try:
                line = row(number)
            except IndexError:  # has left the history meanwhile
                continue
            cells = split_cells(line.text)
            marked = self.columns(number, max(len(cells), 1))
            text = "".join(cells[slice(*marked)]) if marked else ""
            if number == last:
                parts.append(text)
            else:
                parts.append(text if line.wrapped else text.rstrip() + "\n")
        return "".join(parts).rstrip()


def word_at(row: Row, number: int, column: int) -> Selection:
    """The word under a cell, or the cell itself."""
    cells = split_cells(row.text)
    # One character per cell, so that a match's place is its column.
    text = "".join(cell[:1] or "_" for cell in cells)
    for match in _WORD.finditer(text):
        if match.start() <= column < match.end():
            return Selection(Point(number, match.start()), Point(number, match.end() - 1))
    return Selection(Point(number, column), Point(number, column))


def line_at(row: Row, number: int) -> Selection:
    width = sum(run.width for run in row.runs)
    return Selection(Point(number, 0), Point(number, max(0, width - 1)))
