"""Finding text in the lines of a log. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vctui.model.logs import LogLine
from vctui.tui.widgets import log_line
from vctui.tui.widgets.log_ring import LogRing

_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Match(NamedTuple):
    """Characters `start` to `end` (exclusive) of a line's text."""

    line: int
    start: int
    end: int


class Search:
    """A regular expression, or the words themselves where they make none. Capitals in it make
    it case-sensitive."""

    def __init__(self, text: str) -> None:
        self.text = text
        flags = re.NOFLAG if any(char.isupper() for char in text) else re.IGNORECASE
        try:
            self._pattern = re.compile(text, flags)
        except re.error:
            self._pattern = re.compile(re.escape(text), flags)

    def spans(self, line: LogLine) -> list[tuple[int, int]]:
        """Where a line matches, in characters of its text."""
        if log_line.is_simple(line.text):
            text = line.text.decode()
        else:
            # Only lines that may match are worth parsing.
            if not self._pattern.search(_SEQUENCE.sub("", line.text.decode(errors="replace"))):
                return []
            text = log_line.text(line.text)
        return [match.span() for match in self._pattern.finditer(text) if match[0]]

    def find(self, ring: LogRing, origin: tuple[int, int], direction: int) -> Match | None:
        """The nearest match after `origin` (line, character), or before it for direction -1;
        goes on at the other end."""
        line, character = origin
        count = len(ring)
        for step in range(count + 1):
            number = ring.first + (line - ring.first + direction * step) % count
            spans = self.spans(ring[number])
            if step == 0:
                spans = [span for span in spans if (span[0] - character) * direction > 0]
            if spans:
                start, end = spans[0] if direction > 0 else spans[-1]
                return Match(number, start, end)
        return None
