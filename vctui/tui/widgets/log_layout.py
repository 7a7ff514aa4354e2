"""Which line of a log stands in which row of its view. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Layout:
    """Rows of numbered lines; each line has one or more. All numbers count from the first
    line and row ever, so that they stay while old ones are dropped."""

    def __init__(self, first_line: int = 0) -> None:
        self._first_line = first_line
        self._ends: list[int] = []
        self.first_row = 0

    @property
    def end_row(self) -> int:
        return self._ends[-1] if self._ends else self.first_row

    @property
    def end_line(self) -> int:
        return self._first_line + len(self._ends)

    def extend(self, heights: Iterable[int]) -> None:
        end = self.end_row
        for height in heights:
            end += height
            self._ends.append(end)

    def cut(self, line: int) -> None:
        """Forget `line` and those after it."""
        del self._ends[max(0, line - self._first_line) :]

    def drop(self, line: int) -> int:
        """Forget the lines before `line`; how many rows they had."""
        count = min(line - self._first_line, len(self._ends))
        before = self.first_row
        if count > 0:
            self.first_row = self._ends[count - 1]
            del self._ends[:count]
        self._first_line = line
        return self.first_row - before

    def row_of(self, line: int) -> int:
        """The first row of `line`, which must be here."""
        index = line - self._first_line
        return self._ends[index - 1] if index else self.first_row

    def line_at(self, row: int) -> tuple[int, int] | None:
        """The line in `row`, and which of its rows that is."""
        index = bisect_right(self._ends, row)
        if index == len(self._ends) or row < self.first_row:
            return None
        line = self._first_line + index
        return line, row - self.row_of(line)
