"""What all dialogs share: a framed box in the middle of the dimmed screen, and Escape to leave."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from vctui.tui.screens.sheet import Sheet

T = TypeVar("T")


class Dialog(ModalScreen[T | None], Sheet[T | None]):
    """Dismissed with None when it is left without an answer."""

    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (90, "roomy")]  # noqa: RUF012 - Textual's
    VERTICAL_BREAKPOINTS = [(0, "short"), (20, "medium"), (30, "tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "Close", show=False)]

    title_text: str = ""
    hint: str = ""
    """The dialog's own keys, shown at its lower edge."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self.title_text
            box.border_subtitle = self.hint
            yield from self.body()

    def body(self) -> ComposeResult:
        """The widgets in the box."""
        yield from ()

    def action_leave(self) -> None:
        self.dismiss(None)
