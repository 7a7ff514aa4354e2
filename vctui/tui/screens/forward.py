"""Asks which ports of the host are to lead to which ports of a pod."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from vctui.errors import InvalidInput
from vctui.model.ports import BoundPort, PortPair, parse_pair
from vctui.tui.screens.dialog import Dialog

_HELP = "HOST:POD, several with spaces between; 0:80 takes a free port of this host."


class AskPorts(Dialog[tuple[PortPair, ...]]):
    """Gives the pairs to be added; none of them means: end those that there are."""

    hint = "Enter forward   Esc leave"

    def __init__(self, pod: str, bound: Sequence[BoundPort] = ()) -> None:
        super().__init__()
        self.title_text = f"Forward ports to {pod}"
        self._bound = tuple(bound)

    def body(self) -> ComposeResult:
        yield Input(placeholder="8080:80", compact=True)
        yield Static(_HELP, classes="note", id="help")
        if self._bound:
            listed = "\n".join(f"{one.where} → {one.pod_port}" for one in self._bound)
            yield Static(f"{listed}\nEnter without a pair ends these.", classes="note")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            pairs = tuple(parse_pair(word) for word in event.value.split())
        except InvalidInput as error:
            self.query_one("#help", Static).update(Content.styled(f"{error}.", "$error"))
            return
        if pairs or self._bound:
            self.dismiss(pairs)
