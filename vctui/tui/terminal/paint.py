"""Runs as Textual strips."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.strip import Strip

from vctui.tui.terminal.cells import (
    DEFAULT_COLOR,
    PLAIN,
    TRUECOLOR,
    Attribute,
    Run,
    Style,
    char_width,
    split_cells,
)


def strip(runs: Iterable[Run], base: RichStyle) -> Strip:
    """As wide as the runs are; `base` shows where a run has no colour of its own."""
    segments = []
    width = 0
    for run in runs:
        style = base if run.style is PLAIN else base + rich_style(run.style)
        segments.append(Segment(printable(run.text, run.width), style))
        width += run.width
    return Strip(segments, width)


def restyle(strip: Strip, start: int, end: int, style: RichStyle) -> Strip:
    """`style` laid over the cells `start` to `end` (exclusive)."""
    parts = (strip.crop(0, start), strip.crop(start, end), strip.crop(end))
    middle = [
        Segment(segment.text, segment.style + style if segment.style else style)
        for segment in parts[1]
    ]
    return Strip.join([parts[0], Strip(middle, parts[1].cell_length), parts[2]])


@lru_cache(maxsize=4096)
def rich_style(style: Style) -> RichStyle:
    """Only what differs from the default. Blinking is not painted: the screen stays calm."""
    attributes = Attribute(style.attributes)
    return RichStyle(
        color=_color(style.foreground),
        bgcolor=_color(style.background),
        bold=Attribute.BOLD in attributes or None,
        dim=Attribute.DIM in attributes or None,
        italic=Attribute.ITALIC in attributes or None,
        underline=Attribute.UNDERLINE in attributes or None,
        reverse=Attribute.REVERSE in attributes or None,
        conceal=Attribute.CONCEAL in attributes or None,
        strike=Attribute.STRIKE in attributes or None,
        overline=Attribute.OVERLINE in attributes or None,
    )


def _color(color: int) -> Color | None:
    """The 16 named colours stay names, so that Textual's ANSI theme decides on them."""
    if color == DEFAULT_COLOR:
        return None
    if color & TRUECOLOR:
        return Color.from_rgb(color >> 16 & 255, color >> 8 & 255, color & 255)
    return Color.from_ansi(color)


def printable(text: str, width: int) -> str:
    """`text` so that Rich, which lays out the screen, finds it as wide as the emulator does.

    The two differ on joined emoji and variation selectors; there only the base characters are
    shown, and placeholders where even those differ.
    """
    if text.isascii() or cell_len(text) == width:
        return text
    cells = split_cells(text)
    bases = "".join(cell[:1] for cell in cells)
    if cell_len(bases) == width:
        return bases
    return "".join(
        char if char.isascii() else "\N{REPLACEMENT CHARACTER}" + " " * (char_width(char) - 1)
        for char in bases
    )
