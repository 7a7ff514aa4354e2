"""Chooses one of a few: a theme, a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from textual.app import ComposeResult
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from vctui.tui.screens.dialog import Dialog

REST: Final = 0.1
"""Seconds on one option that make a rest; all colours anew for each that is passed would hold the
next key up."""


class Choose(Dialog[str]):
    """`preview` is called with the id that the cursor rests on."""

    hint = "Enter choose   Esc leave"

    def __init__(
        self,
        title: str,
        options: Sequence[tuple[str, str]],
        current: str = "",
        preview: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.title_text = title
        self._options = options
        self._current = current
        self._preview = preview
        self._rest: Timer | None = None

    def body(self) -> ComposeResult:
        yield OptionList(
            *(
                Option(Content(f"{'●' if id_ == self._current else ' '} {label}"), id=id_)
                for id_, label in self._options
            )
        )

    def on_mount(self) -> None:
        ids = [id_ for id_, _ in self._options]
        if self._current in ids:
            self.query_one(OptionList).highlighted = ids.index(self._current)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if self._rest is not None:
            self._rest.stop()
            self._rest = None
        if self._preview and event.option.id is not None:
            self._rest = self.set_timer(REST, partial(self._show, event.option.id))

    def _show(self, option: str) -> None:
        if self._preview and self.is_current:  # not when it has just been left
            self._preview(option)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)
