"""How soon a picture follows what has changed."""

from __future__ import annotations

from typing import Final

from textual import screen

PERIOD: Final = 1 / 250
"""Seconds between two pictures, at least. A key that comes right after a picture waits for one to
two of these (Textual 8.2): 17 to 33 ms of its own sixtieths, whatever is left to do."""


def hasten() -> None:
    """From now on screens are painted that soon, in the whole process."""
    screen.UPDATE_PERIOD = PERIOD  # type: ignore[misc]
