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
