"""When a full collection of garbage is due."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.strip import Strip

from vctui.tui.garbage import LATEST, TICK, WORTH, FullCollections, divide


@pytest.mark.parametrize(
    ("since_key", "gathered", "due"),
    [
        (TICK, WORTH, True),
        (TICK / 2, WORTH, False),  # somebody types
        (100 * TICK, WORTH - 1, False),  # not worth it
        (TICK / 2, LATEST, True),  # it cannot wait any longer
    ],
)
def test_it_waits_for_a_pause_between_two_keys_but_not_for_ever(
    since_key: float, gathered: int, due: bool
) -> None:
    collections = FullCollections()
    collections.key(1000.0)
    assert collections.due(1000.0 + since_key, gathered) is due


@given(
    words=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4),
    cuts=st.sets(st.integers(1, 30), min_size=1),
)
def test_strips_are_divided_as_textual_does(words: list[str], cuts: set[int]) -> None:
    strip = Strip([Segment(word) for word in words])
    for at in (sorted(cuts), [strip.cell_length]):
        assert list(divide(strip, at)) == list(strip.divide(at))


def test_a_strip_that_was_shown_whole_is_let_go_without_a_collection() -> None:
    gc.collect()
    gc.disable()
    try:
        strips = [Strip([Segment("some words")], 10) for _ in range(100)]
        assert [divide(strip, [10]) for strip in strips] == [[strip] for strip in strips]
        del strips
        assert gc.collect() < 100
    finally:
        gc.enable()
