"""When a full collection of garbage is due."""

from __future__ import annotations

import pytest

from vctui.tui.garbage import LATEST, TICK, WORTH, FullCollections


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


@pytest.mark.parametrize(
    ("since", "due"),
    [
        (TICK, True),
        (TICK / 2, False),  # what it was made of is still being let go
    ],
)
def test_a_dialog_that_was_left_is_collected_in_the_next_pause(since: float, due: bool) -> None:
    collections = FullCollections()
    collections.discarded(1000.0)
    assert collections.due(1000.0 + since, gathered=0) is due


def test_a_dialog_is_collected_once() -> None:
    collections = FullCollections()
    collections.discarded(1000.0)
    collections.tick(1000.0 + TICK)
    assert not collections.due(1000.0 + 2 * TICK, gathered=0)
