"""The character sets that a program can designate as G0 and G1. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LINE_DRAWING: Final[Mapping[int, str]] = dict(
    zip(range(0x5F, 0x7F), "\u00a0◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·", strict=True)
)
"""DEC Special Graphics."""

BRITISH: Final[Mapping[int, str]] = {ord("#"): "£"}

BY_FINAL: Final[Mapping[str, Mapping[int, str] | None]] = {
    "0": LINE_DRAWING,
    "2": LINE_DRAWING,
    "A": BRITISH,
    "B": None,
}
"""Final character of the designation; None is ASCII, as is every set not listed."""
