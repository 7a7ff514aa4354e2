"""Lines of the screen, without the caches that Textual gives them."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.strip import Strip
from textual.style import Style as TextualStyle

from vctui.tui import strips

WORDS = st.lists(st.text("abc äß語", min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.fixture
def lean(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, name in ((Strip, "__init__"), (StylesCache, "get_inner_outer")):
        monkeypatch.setattr(kind, name, getattr(kind, name))  # put back afterwards
    strips.make_lean()


def answers(words: list[str], at: int, width: int) -> list[object]:
    """What a strip of these words says, each twice."""
    strip = Strip([Segment(word, Style(bold=bool(n % 2))) for n, word in enumerate(words)])
    blank = Style(color="red")
    asked = [
        lambda: strip.crop(at, at + width),
        lambda: strip.crop_extend(at, at + width, blank),
        lambda: strip.adjust_cell_length(width, blank),
        lambda: strip.apply_style(blank),
        lambda: strip.apply_offsets(at, width),
        lambda: Strip.join(strip.divide([at, strip.cell_length])),
        lambda: Strip.join(strip.divide([strip.cell_length])),
        lambda: strip,
    ]
    return [list(ask()) for ask in (*asked, *asked)]


@given(words=WORDS, at=st.integers(1, 12), width=st.integers(1, 12))
def test_they_say_what_those_of_textual_say(words: list[str], at: int, width: int) -> None:
    wanted = answers(words, at, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Strip, "__init__", strips._begin)
        assert answers(words, at, width) == wanted


def test_one_that_was_shown_whole_is_let_go_without_a_collection(lean: None) -> None:
    gc.collect()
    gc.disable()
    try:
        shown = [Strip([Segment("some words")], 10) for _ in range(100)]
        assert [strip.divide([10]) for strip in shown] == [[strip] for strip in shown]
        del shown
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_the_lines_of_a_widget_are_let_go_with_it(lean: None) -> None:
    cache = StylesCache()
    known = weakref.ref(cache)
    assert cache.get_inner_outer(Color(1, 2, 3), Color(4, 5, 6, 0.5)) == (
        TextualStyle(background=Color(1, 2, 3) + Color(4, 5, 6, 0.5)),
        TextualStyle(background=Color(1, 2, 3)),
    )
    del cache
    gc.collect()
    assert known() is None
