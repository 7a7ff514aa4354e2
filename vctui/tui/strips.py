"""Textual's strips, made lean: lines of the screen, of which each picture needs hundreds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.strip import Strip
from textual.style import Style


class _Forgetful:
    """A cache that keeps nothing."""

    def get(self, key: object) -> None:
        return None

    def __setitem__(self, key: object, value: object) -> None:
        pass


_NOTHING: Final = _Forgetful()


def _begin(self: Any, segments: Iterable[Segment], cell_length: int | None = None) -> None:
    """As Strip.__init__, which makes seven caches for each strip (Textual 8.2). We keep strips by
    ourselves, so of those caches only that of filtered strips is ever asked twice. And of a strip
    that is shown whole the first holds that strip itself: it waited for a garbage collection."""
    self._segments = list(segments)
    self._cell_length = cell_length
    self._divide_cache = self._crop_cache = self._crop_extend_cache = _NOTHING
    self._style_cache = self._line_length_cache = self._offsets_cache = _NOTHING
    self._filter_cache = {}
    self._render_cache = self._link_ids = self._cell_count = None


@lru_cache(maxsize=1024)
def _inner_outer(base_background: Color, background: Color) -> tuple[Style, Style]:
    """As StylesCache.get_inner_outer, whose answers are kept with the one that was asked: the lines
    of the last hundreds of widgets stay in memory (Textual 8.2)."""
    return Style(background=base_background + background), Style(background=base_background)


def make_lean() -> None:
    """From now on strips are made and painted like that, in the whole process."""
    Strip.__init__ = _begin  # type: ignore[method-assign]
    StylesCache.get_inner_outer = staticmethod(_inner_outer)  # type: ignore[assignment]
