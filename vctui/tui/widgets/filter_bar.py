"""A line at the lower edge to type a filter into; what is typed works at once."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static


class FilterBar(Horizontal):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "Show everything", show=False),
        Binding("down,up", "accept", "To the list", show=False),
    ]

    class Changed(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """Focus should go back to what is filtered."""

    def compose(self) -> ComposeResult:
        yield Static()
        yield Input(placeholder="regular expression, ! in front inverts", compact=True)

    def open(self, text: str, what: str) -> None:
        self.add_class("open")
        self.query_one(Static).update(Content.assemble((f" {what} / ", "bold $key")))
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = text
        # At once: the next key may be on its way already.
        self.screen.set_focus(field)

    def _close(self) -> None:
        self.remove_class("open")
        self.post_message(self.Closed())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close()

    def action_accept(self) -> None:
        self._close()

    def action_give_up(self) -> None:
        self.post_message(self.Changed(""))
        self._close()
