"""Screens of an emulator as text, for comparing."""

from __future__ import annotations

from vctui.tui.terminal.emulator import Emulator


def shown(emulator: Emulator) -> list[str]:
    """The lines of the screen without trailing blanks."""
    return [line.row().text.rstrip() for line in emulator.screen.lines]


def feed(data: bytes | str, rows: int = 5, columns: int = 10) -> Emulator:
    """A fresh emulator that has read `data`."""
    emulator = Emulator(rows, columns)
    emulator.feed(data.encode() if isinstance(data, str) else data)
    return emulator
