"""What the documents of CNI have in common: versions, bounds, words that are shown."""

from __future__ import annotations

from typing import Final

MAX_DOCUMENT: Final = 256 * 1024
"""Bytes of a configuration file, and of what a plugin prints."""
MAX_ITEMS: Final = 256
"""Interfaces, addresses, routes, name servers, plugins: the most of each."""
VERSIONS: Final = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
"""Of the specification, oldest first."""

_SHOWN: Final = 300


def is_before(version: str, other: str) -> bool:
    return VERSIONS.index(version) < VERSIONS.index(other)


def clean(text: str) -> str:
    """Other people's words for a line of ours: printable, one line, of bounded length."""
    printed = "".join(char if char.isprintable() else " " for char in text[: 4 * _SHOWN])
    words = " ".join(printed.split())
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"


def shown(value: object) -> str:
    return "nothing" if value is None else clean(repr(value))[:80]
