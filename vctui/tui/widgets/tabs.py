"""One line of tabs, each with the digit that leads to it."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

TABS: Final[tuple[tuple[str, str], ...]] = (
    ("console", "Console"),
    ("agent", "Agent log"),
    ("log", "Log"),
    ("events", "Events"),
    ("details", "Details"),
    ("timeline", "Timeline"),
    ("network", "Network"),
)
_SHORTEST: Final = 2
"""Letters that stay of a label."""


def fitting(width: int) -> tuple[str, ...]:
    """The labels as wide as there is room: with a space behind each, without, and then the longest
    of them cut. Pure."""
    labels = [f"{label} " for _, label in TABS]
    numbers = sum(len(f" {number} ") for number in range(1, len(TABS) + 1))
    if numbers + sum(map(len, labels)) > width:
        labels = [label.rstrip() for label in labels]
    while numbers + sum(map(len, labels)) > width and max(map(len, labels)) > _SHORTEST:
        at = max(range(len(labels)), key=lambda index: len(labels[index]))
        labels[at] = labels[at][:-1].rstrip()
    return tuple(labels)


class TabStrip(Widget):
    active: reactive[str] = reactive("console")

    class Chosen(Message):
        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def render(self) -> Content:
        parts: list[tuple[str, str]] = []
        for number, (tab, label) in enumerate(self._tabs(), 1):
            if tab == self.active:
                parts.append((f" {number} {label}", "bold $background on $border-focus"))
            else:
                parts += [(f" {number}", "$key"), (f" {label}", "$muted")]
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        right = 0
        for number, (tab, label) in enumerate(self._tabs(), 1):
            right += len(f" {number} {label}")
            if event.x < right:
                self.post_message(self.Chosen(tab))
                return

    def _tabs(self) -> list[tuple[str, str]]:
        """Each with the label that there is room for."""
        return [
            (tab, label) for (tab, _), label in zip(TABS, fitting(self.size.width), strict=True)
        ]
