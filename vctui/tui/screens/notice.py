"""Shows a longer text: an error in full, the findings of the doctor."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from vctui.model.doctor import Check
from vctui.present.humanize import plain
from vctui.tui.screens.dialog import Dialog


class Notice(Dialog[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "leave", "Close", show=False)]

    hint = "Esc close   y copy"

    def __init__(self, title: str, text: Content) -> None:
        super().__init__()
        self.title_text = title
        self._text = text

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._text)

    def key_y(self) -> None:
        self.app.copy_to_clipboard(self._text.plain)
        self.app.notify("copied", timeout=2)


def findings(checks: tuple[Check, ...]) -> Content:
    """One line for each finding, its remedy below."""
    symbols = {True: ("✓", "$success"), None: ("!", "$warning"), False: ("✗", "$error")}
    lines = []
    for check in checks:
        symbol, colour = symbols[check.ok]
        lines.append(
            Content.assemble(
                (f"{symbol} ", colour), (f"{plain(check.name)}  ", "bold"), plain(check.detail)
            )
        )
        if check.remedy:
            lines.append(Content.styled(f"  → {plain(check.remedy)}", "$muted"))
    return Content("\n").join(lines)
