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


class TabStrip(Widget):
    active: reactive[str] = reactive("console")

    class Chosen(Message):
        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def render(self) -> Content:
        parts: list[tuple[str, str]] = []
        for number, (tab, label) in enumerate(TABS, 1):
            if tab == self.active:
                parts.append((f" {number} {label} ", "bold $background on $border-focus"))
            else:
                parts += [(f" {number}", "$key"), (f" {label} ", "$muted")]
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        right = 0
        for number, (tab, label) in enumerate(TABS, 1):
            right += len(f" {number} {label} ")
            if event.x < right:
                self.post_message(self.Chosen(tab))
                return
