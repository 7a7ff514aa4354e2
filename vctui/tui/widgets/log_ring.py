"""The newest lines of a log. Pure; bounded in lines and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from vctui.model.logs import LogLine

MAX_LINES: Final = 10_000
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_LINE: Final = 8 * 1024
"""Bytes shown of one line."""


class LogRing:
    """Lines keep their number until they are dropped. What a line is replaced by, when it
    was partial and has gone on, has the same number."""

    def __init__(self, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lines: list[LogLine] = []
        self._bytes = 0
        self.first = 0
        """Number of the oldest line; also how many were dropped."""

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def end(self) -> int:
        """The number that the next line will get."""
        return self.first + len(self._lines)

    def __getitem__(self, number: int) -> LogLine:
        """Raises IndexError for a line that was dropped or is yet to come."""
        index = number - self.first
        if index < 0:
            raise IndexError(number)
        return self._lines[index]

    def lines(self, start: int) -> list[LogLine]:
        """Those from number `start` on."""
        return self._lines[max(0, start - self.first) :]

    def append(self, lines: Sequence[LogLine]) -> int:
        """Add lines; the number of the first one that is new or has changed."""
        changed = self.end
        own = self._lines
        for line in map(_cut, lines):
            if own and own[-1].partial and _continues(own[-1], line):
                own[-1] = replace(own[-1], text=own[-1].text + line.text, partial=line.partial)
                changed = min(changed, self.end - 1)
            else:
                own.append(line)
        self._bytes += sum(min(len(line.text), MAX_LINE) for line in lines)
        self._trim()
        return max(changed, self.first)

    def skip(self, count: int) -> None:
        """So many lines came that were not looked at; all before them are dropped too."""
        self.first = self.end + count
        self._lines.clear()
        self._bytes = 0

    def clear(self) -> None:
        """Forget all lines and that there were any."""
        self.skip(0)
        self.first = 0

    def _trim(self) -> None:
        own = self._lines
        drop = max(0, len(own) - self._max_lines)
        self._bytes -= sum(len(line.text) for line in own[:drop])
        while self._bytes > self._max_bytes and drop < len(own):
            self._bytes -= len(own[drop].text)
            drop += 1
        del own[:drop]
        self.first += drop


def _cut(line: LogLine) -> LogLine:
    if len(line.text) <= MAX_LINE:
        return line
    return replace(line, text=line.text[:MAX_LINE], partial=False)


def _continues(before: LogLine, line: LogLine) -> bool:
    return before.stream == line.stream and len(before.text) + len(line.text) <= MAX_LINE
