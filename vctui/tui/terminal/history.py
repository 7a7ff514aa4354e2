"""Rows that have left the screen at its top. Pure; bounded in rows and in memory."""

from __future__ import annotations

from collections import deque
from typing import Final

from vctui.tui.terminal.cells import Row

MAX_ROWS: Final = 5_000
_RUNS_PER_ROW: Final = 20
"""On average. A guest that colours each cell differently gets a shorter history, not more
memory: a run costs about 250 bytes."""


class History:
    """A ring whose rows keep their number: row `n` is the same row until it is dropped."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._max_runs = max_rows * _RUNS_PER_ROW
        self._rows: deque[Row] = deque()
        self._runs = 0
        self.end = 0
        """The number that the next row will get."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def start(self) -> int:
        """The number of the oldest row still here."""
        return self.end - len(self._rows)

    def __getitem__(self, number: int) -> Row:
        """Raises IndexError for a row that was dropped or is yet to come."""
        index = number - self.start
        if index < 0:
            raise IndexError(number)
        return self._rows[index]

    def push(self, row: Row) -> None:
        rows = self._rows
        rows.append(row)
        self.end += 1
        self._runs += len(row.runs)
        while rows and (len(rows) > self._max_rows or self._runs > self._max_runs):
            self._runs -= len(rows.popleft().runs)

    def pop(self) -> Row:
        """Give the newest row back to a screen that grows. Raises IndexError when empty."""
        row = self._rows.pop()
        self.end -= 1
        self._runs -= len(row.runs)
        return row

    def clear(self) -> None:
        self._rows.clear()
        self._runs = 0
