"""The strip of tabs."""

from __future__ import annotations

import pytest

from vctui.tui.widgets.tabs import TABS, fitting


def taken(labels: tuple[str, ...]) -> int:
    return sum(len(f" {number} {label}") for number, label in enumerate(labels, 1))


def test_there_is_room_for_whole_words_on_a_wide_screen() -> None:
    assert fitting(200) == tuple(f"{label} " for _, label in TABS)


@pytest.mark.parametrize("width", [45, 58, 70])
def test_the_longest_words_are_cut_until_all_tabs_are_seen(width: int) -> None:
    labels = fitting(width)
    assert taken(labels) <= width
    assert all(
        whole.startswith(label) and len(label) > 1
        for label, (_, whole) in zip(labels, TABS, strict=True)
    )


def test_of_a_word_two_letters_stay() -> None:
    assert {len(label) for label in fitting(0)} == {2}
