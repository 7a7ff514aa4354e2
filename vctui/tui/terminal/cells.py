"""What a screen is made of: styled cells in lines, and finished rows of runs.

Pure. A cell is a string: one base character with its combining ones; a wide character takes
two cells, the second of which is "". A line holds only as many cells as were written; what
lies to their right is blank in the default style. That keeps a log line as short as its text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntFlag
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from wcwidth import wcwidth

DEFAULT_COLOR: Final = -1
TRUECOLOR: Final = 1 << 24
"""A colour is DEFAULT_COLOR, an index of the 256 colour palette, or TRUECOLOR | 0xRRGGBB."""

MAX_COMBINING: Final = 4
"""Combining characters kept per cell; the guest may send any number of them."""

_NARROW: Final = re.compile(
    r"[\x20-\x7e\xa0-\xac\xae-\u02ff\u0391-\u03a1\u03a3-\u03ff\u0410-\u044f"
    r"\u2010-\u2027\u2190-\u21ff\u2500-\u259f]+"
)
"""Text that needs no table: each of these characters takes exactly one cell."""


class Attribute(IntFlag):
    BOLD = 1
    DIM = 2
    ITALIC = 4
    UNDERLINE = 8
    BLINK = 16
    REVERSE = 32
    CONCEAL = 64
    STRIKE = 128
    OVERLINE = 256


class Style(NamedTuple):
    foreground: int = DEFAULT_COLOR
    background: int = DEFAULT_COLOR
    attributes: int = 0
    """Bits of Attribute; a bare number, because flags are slow to hash."""


PLAIN: Final = Style()


class Run(NamedTuple):
    """Neighbouring cells of one style; `width` counts cells."""

    text: str
    width: int
    style: Style


class Row(NamedTuple):
    """A finished line. `wrapped`: the next row continues it (the right margin was reached)."""

    runs: tuple[Run, ...]
    wrapped: bool = False

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs)


@lru_cache(maxsize=8192)
def char_width(char: str) -> int:
    """0 for what joins the character before it, 1, or 2."""
    return max(0, wcwidth(char))


def is_narrow(text: str) -> bool:
    return text.isascii() or _NARROW.fullmatch(text) is not None


def split_cells(text: str) -> list[str]:
    """Cells of printable `text`. A combining character at its start has a cell of its own."""
    if is_narrow(text):
        return list(text)
    cells: list[str] = []
    for char in text:
        width = char_width(char)
        if width == 1:
            cells.append(char)
        elif width == 2:
            cells += (char, "")
        elif cells:
            base = -1 if cells[-1] else -2
            if len(cells[base]) <= MAX_COMBINING:
                cells[base] += char
        else:
            cells.append(char)
    return cells


class Line:
    """A line of the screen that can still change.

    It is a list of runs while it is only written from left to right, as logs are, and opens
    into cells at the first edit within. Cells right of the screen's margin are kept when the
    screen becomes narrower, so that making it wide again shows them; they vanish when the
    line is written up to the margin.
    """

    __slots__ = ("_cells", "_length", "_row", "_runs", "_styles", "_wrapped")

    def __init__(self, columns: int = 0, blank: Style = PLAIN) -> None:
        """Blank; `columns` matter only for a `blank` whose background shows."""
        self._runs = [] if blank is PLAIN else [Run(" " * columns, columns, blank)]
        self._length = 0 if blank is PLAIN else columns
        """Valid only while there are no cells."""
        self._cells: list[str] | None = None
        self._styles: list[Style] = []
        self._wrapped = False
        self._row: Row | None = None

    @classmethod
    def from_row(cls, row: Row) -> Line:
        line = cls()
        line._runs = list(row.runs)
        line._length = sum(run.width for run in row.runs)
        line._wrapped = row.wrapped
        return line

    @property
    def empty(self) -> bool:
        return not (self._runs if self._cells is None else self._cells)

    def row(self) -> Row:
        """The line as it is now; the same object until the line changes."""
        row = self._row
        if row is None:
            runs = self._runs if self._cells is None else _runs(self._cells, self._styles)
            row = self._row = Row(tuple(runs), self._wrapped)
        return row

    def put(self, x: int, cells: Sequence[str], style: Style) -> None:
        """Overwrite from cell `x` on. Halves of wide characters that lose their other half
        become blank."""
        self._row = None
        count = len(cells)
        if self._cells is None and x == self._length:
            text = cells if isinstance(cells, str) else "".join(cells)
            self._length = x + count
            runs = self._runs
            if runs and runs[-1].style is style:
                before, width, _ = runs[-1]
                runs[-1] = Run(before + text, width + count, style)
            else:
                runs.append(Run(text, count, style))
            return
        own, styles = self._open(x)
        end = x + count
        _part(own, x)
        _part(own, end)
        own[x:end] = cells
        styles[x:end] = [style] * count

    def combine(self, x: int, char: str) -> None:
        """Add a combining character to the cell that ends left of `x`."""
        cells, _ = self._open()
        at = min(x, len(cells)) - 1
        if at > 0 and not cells[at]:
            at -= 1
        if at >= 0 and len(cells[at]) <= MAX_COMBINING:
            cells[at] += char
            self._row = None

    def erase(self, start: int, end: int, blank: Style) -> None:
        """Blank the cells `start` to `end` (exclusive)."""
        self._row = None
        cells, styles = self._open()
        if end >= len(cells) and blank is PLAIN:
            _part(cells, start)
            del cells[start:], styles[start:]
            return
        self._open(start)
        _part(cells, start)
        _part(cells, end)
        cells[start:end] = [" "] * (end - start)
        styles[start:end] = [blank] * (end - start)

    def insert(self, x: int, count: int, columns: int, blank: Style) -> None:
        """Shift the cells from `x` on to the right; those beyond the margin are lost."""
        self._row = None
        cells, styles = self._open(x)
        _part(cells, x)
        cells[x:x] = [" "] * count
        styles[x:x] = [blank] * count
        self.crop(columns)

    def delete(self, x: int, count: int, columns: int, blank: Style) -> None:
        """Take out cells; what is right of them moves left, blanks follow at the margin."""
        self.crop(columns)
        self._row = None
        cells, styles = self._open()
        _part(cells, x)
        _part(cells, x + count)
        del cells[x : x + count], styles[x : x + count]
        if blank is not PLAIN:
            self.erase(columns - count, columns, blank)

    def crop(self, columns: int) -> None:
        """Take away what lies right of the margin."""
        if (self._length if self._cells is None else len(self._cells)) > columns:
            self._row = None
            cells, styles = self._open()
            _part(cells, columns)
            del cells[columns:], styles[columns:]

    def set_wrapped(self, wrapped: bool) -> None:
        if wrapped is not self._wrapped:
            self._wrapped = wrapped
            self._row = None

    def _open(self, length: int = 0) -> tuple[list[str], list[Style]]:
        """The cells and their styles, at least `length` of them."""
        cells, styles = self._cells, self._styles
        if cells is None:
            cells = self._cells = []
            for run in self._runs:
                cells += split_cells(run.text)
                styles += [run.style] * run.width
            self._runs = []
        missing = length - len(cells)
        if missing > 0:
            cells += [" "] * missing
            styles += [PLAIN] * missing
        return cells, styles


def _runs(cells: list[str], styles: list[Style]) -> list[Run]:
    runs = []
    start = 0
    for style, group in groupby(styles):
        end = start + len(list(group))
        runs.append(Run("".join(cells[start:end]), end - start, style))
        start = end
    return runs


def _part(cells: list[str], x: int) -> None:
    """Before a cut at `x`: a wide character that lies across it becomes two blanks."""
    if 0 < x < len(cells) and not cells[x]:
        cells[x - 1] = cells[x] = " "
