"""A line of a log as runs: control sequences taken out, colours kept. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vctui.tui.terminal.cells import PLAIN, Run, char_width, is_narrow, split_cells
from vctui.tui.terminal.parser import Parser
from vctui.tui.terminal.sgr import Graphics

_NOT_SIMPLE: Final = re.compile(rb"[^\x20-\x7e]")
_STYLES: Final = re.compile(rb"\x1b\[[0-9;:]{0,128}m")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TAB: Final = 8
_GRAPHICS: Final = Graphics()


def is_simple(data: bytes) -> bool:
    """Whether the line is shown just as it is: printable ASCII."""
    return _NOT_SIMPLE.search(data) is None


def parse(data: bytes) -> tuple[Run, ...]:
    """What a guest wrote as one line, without newline.

    Text before a carriage return was meant to be overwritten (progress bars) and is left out.
    """
    if is_simple(data):
        return (Run(data.decode(), len(data), PLAIN),) if data else ()
    reader = _Reader()
    reader.read(data.rstrip(b"\r").decode(errors="replace"))
    return tuple(reader.runs)


class _Reader:
    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._style = PLAIN
        self._width = 0

    def read(self, text: str) -> None:
        Parser(self._text, self._control, self._set_style, _ignore, _ignore).feed(text)

    def _text(self, text: str) -> None:
        # A combining character has nothing to join at the beginning of a run.
        start = next((at for at, char in enumerate(text) if char_width(char)), len(text))
        cells = split_cells(text[start:])
        if cells:
            self.runs.append(Run("".join(cells), len(cells), self._style))
            self._width += len(cells)

    def _control(self, char: str) -> None:
        if char == "\t":
            self._text(" " * (_TAB - self._width % _TAB))
        elif char == "\r":
            self.runs.clear()
            self._width = 0

    def _set_style(self, parameters: str) -> None:
        self._style = _GRAPHICS.apply(self._style, parameters)


def _ignore(*_: str) -> None:
    pass


def rows(data: bytes, prefix: int, width: int) -> int:
    """How many rows of `width` cells the line takes behind a prefix. Most lines need not be
    parsed for that."""
    bare = _STYLES.sub(b"", data) if b"\x1b" in data else data
    cells = len(bare)
    if not is_simple(bare):
        text = bare.decode(errors="replace")
        if _CONTROLS.search(text) or not is_narrow(text):
            return len(wrap((Run(" " * prefix, prefix, PLAIN), *parse(data)), width))
        cells = len(text)
    return max(1, -(-(prefix + cells) // width))


def wrap(runs: Sequence[Run], width: int) -> list[int]:
    """The columns at which the rows of a wrapped line begin; no wide character is cut."""
    total = sum(run.width for run in runs)
    if total <= width or all(run.text.isascii() for run in runs):
        return list(range(0, max(total, 1), width))
    cells = [cell for run in runs for cell in split_cells(run.text)]
    starts = [0]
    while total - starts[-1] > width:
        cut = starts[-1] + width
        if width > 1 and not cells[cut]:
            cut -= 1
        starts.append(cut)
    return starts


def text(data: bytes) -> str:
    """The line without control sequences."""
    return "".join(run.text for run in parse(data))
