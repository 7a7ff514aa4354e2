"""When the garbage collector looks through everything: while nobody types.

A full collection holds all threads up, for 10 ms and more with what a console has, and Python
begins one in the middle of whatever it does. What is left in cycles, closed dialogs mostly, may
wait for the next pause between two keys. The young generations are collected as ever.

What is shown is kept out of cycles: of a log that floods in there would be the most.
"""

from __future__ import annotations

import gc
from typing import Final

from rich.segment import Segment

TICK: Final = 0.1
"""Seconds between two looks, and without a key that make a pause."""
WORTH: Final = 10
"""Collections of the middle generation since the last full one that make one worth it."""
LATEST: Final = 60
"""The same that make it due even while somebody types: memory stays bounded."""
_NEVER: Final = 1_000_000


class FullCollections:
    """Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._last = 0.0
        self._discarded = False

    def take_over(self) -> None:
        """From now on Python begins none. What there is now, the program's own modules, styles and
        first pods, is not looked at again."""
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)

    def key(self, now: float) -> None:
        """The operator does something."""
        self._last = now

    def discarded(self, now: float) -> None:
        """A dialog or the like is gone: thousands of objects in cycles, and they are collected
        before the next thousands come."""
        self._last = now
        self._discarded = True

    def due(self, now: float, gathered: int) -> bool:
        """Whether it is time, so many collections of the middle generation after the last."""
        worth = self._discarded or gathered >= WORTH
        return gathered >= LATEST or (worth and now - self._last >= TICK)

    def tick(self, now: float) -> None:
        """Time has passed: collect if it is due."""
        if self.due(now, gc.get_count()[2]):
            self._discarded = False
            Segment._split_cells.cache_clear()  # noqa: SLF001 - of old text 48,000 objects
            gc.collect()
