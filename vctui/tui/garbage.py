"""When the garbage collector looks through everything: while nobody types.

A full collection holds all threads up, for 10 ms and more with what a console has, and Python
begins one in the middle of whatever it does. What is left in cycles, closed dialogs mostly, may
wait for the next pause between two keys. The young generations are collected as ever.

What is shown is kept out of cycles: of a log that floods in there would be the most.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from typing import Final

from textual.strip import Strip

TICK: Final = 0.25
"""Seconds between two looks, and without a key that make a pause."""
WORTH: Final = 10
"""Collections of the middle generation since the last full one that make one worth it."""
LATEST: Final = 60
"""The same that make it due even while somebody types: memory stays bounded."""
_NEVER: Final = 1_000_000

_divide = Strip.divide


class FullCollections:
    """Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._key = 0.0

    def take_over(self) -> None:
        """From now on Python begins none. What there is now, the program's own modules, styles and
        first pods, is not looked at again."""
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)

    def key(self, now: float) -> None:
        """The operator does something."""
        self._key = now

    def due(self, now: float, gathered: int) -> bool:
        """Whether it is time, so many collections of the middle generation after the last."""
        return gathered >= LATEST or (gathered >= WORTH and now - self._key >= TICK)

    def tick(self, now: float) -> None:
        """Time has passed: collect if it is due."""
        if self.due(now, gc.get_count()[2]):
            gc.collect()


def divide(strip: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """As Strip.divide, which keeps its answers in the strip: of one that is shown whole, as nearly
    all are, the answer is itself, and the strip a cycle with all its caches (Textual 8.2)."""
    within = [cut for cut in cuts if cut <= strip.cell_length]
    return [strip] if within == [strip.cell_length] else _divide(strip, within)


def let_strips_go() -> None:
    """From now on strips are freed when they were shown, in the whole process."""
    Strip.divide = divide  # type: ignore[method-assign, assignment]
