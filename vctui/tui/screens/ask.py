"""Asks for a command line to run in a container."""

from __future__ import annotations

import shlex

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from vctui.tui.screens.dialog import Dialog


class AskCommand(Dialog[tuple[str, ...]]):
    hint = "Enter run   Esc leave"

    def __init__(self, pod: str, container: str, last: str = "") -> None:
        super().__init__()
        self.title_text = f"Run a command in {pod}/{container}"
        self._last = last

    def body(self) -> ComposeResult:
        yield Input(self._last, placeholder="ps aux", select_on_focus=True, compact=True)
        yield Static("Words are split as a shell does it; pipes need sh -c '…'.", classes="note")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            words = tuple(shlex.split(event.value))
        except ValueError as error:
            self.query_one(Static).update(
                Content.styled(f"That is no command line: {error}.", "$error")
            )
            return
        if words:
            self.dismiss(words)
