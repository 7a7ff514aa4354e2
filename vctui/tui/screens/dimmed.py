"""A screen as it is seen below a dialog: dimmed, and without links."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.color import Color
from textual.css.styles import RulesMap
from textual.screen import Screen
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual


class Dimmed(Visual):
    """As Textual's BackgroundScreen, which mixes both colours of each piece of text anew."""

    def __init__(self, screen: Screen[object], tint: Color) -> None:
        self._screen = screen
        self._tint = tint

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        return [
            Strip(
                [Segment(text, _dim(style, self._tint)) for text, style, _ in strip],
                strip.cell_length,
            )
            for strip in self._screen._compositor.render_strips()[:height]  # noqa: SLF001
        ]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return self._screen.size.height


@lru_cache(maxsize=2048)
def _dim(style: RichStyle | None, tint: Color) -> RichStyle:
    if style is None:
        return RichStyle.null()
    colours = (_mix(style.color, tint), _mix(style.bgcolor, tint))
    return style.clear_meta_and_links() + RichStyle.from_color(*colours)


def _mix(colour: RichColor | None, tint: Color) -> RichColor | None:
    return None if colour is None else (Color.from_rich_color(colour) + tint).rich_color
