"""Asks before something is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button, Static

from vctui.tui.screens.dialog import Dialog

_SHOWN: Final = 8
_REST: Final = 13
"""Lines that all but the names may take."""


class Confirm(Dialog[bool]):
    """Cancel has the focus, so that Enter alone harms nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", show=False),
        Binding("n", "answer(False)", "No", show=False),
        Binding("left,right,h,l", "app.focus_next", "Other", show=False),
    ]

    hint = "y yes   n no"

    def __init__(self, verb: str, names: Sequence[str], note: str, command: str = "") -> None:
        super().__init__()
        self.title_text = f"{verb.capitalize()}?"
        self._verb = verb
        self._names = names
        self._note = note
        self._command = command

    def body(self) -> ComposeResult:
        most = max(1, min(_SHOWN, self.app.size.height - _REST))
        shown = [Content.styled(name, "bold") for name in self._names[:most]]
        if (more := len(self._names) - most) > 0:
            shown.append(Content.styled(f"and {more} more", "$muted"))
        yield Static(Content("\n").join(shown), classes="names")
        yield Static(Content(self._note), classes="note")
        if self._command:
            yield Static(Content(f"$ {self._command}"), classes="command")
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="no", compact=True)
            yield Button(self._verb.capitalize(), id="yes", variant="error", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
