"""Every key and what it does, from the registry of actions."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from vctui.tui.actions import ACTIONS, LOG_ACTIONS
from vctui.tui.keymap import Keymap, display
from vctui.tui.screens.dialog import Dialog

MOVING: Final = (
    ("↑ ↓  j k", "Move the cursor; g and G go to the first and the last row."),
    ("Tab ⇧Tab", "Go to the next or the previous pane."),
    ("Enter", "In a list: go on to the next pane. In events: the whole text."),
    ("Esc", "Leave a filter, the marks, a zoomed pane, a dialog."),
)
_STATES: Final = (
    ("● running", "state-running"),
    ("◐ paused", "state-paused"),
    ("○ ready", "state-ready"),
    ("■ stopped", "state-stopped"),
    ("✗ stopped by a problem", "state-failed"),
    ("◌ being changed", "state-busy"),
)


class Help(Dialog[None]):
    title_text = "Keys"
    hint = "Esc close"

    def __init__(self, keymap: Keymap, detach: str) -> None:
        super().__init__()
        self._keymap = keymap
        self._detach_keys = detach
        self._room = 0

    def body(self) -> ComposeResult:
        self._room = min(_ROOM, self.app.size.width * 9 // 10 - _EDGES)
        with VerticalScroll():
            yield Static(self._text(self._room))

    def on_resize(self) -> None:
        self.call_after_refresh(self._write)

    def _write(self) -> None:
        shown = next(iter(self.query(Static)), None)  # None where it was closed meanwhile
        if shown is not None and shown.size.width != self._room:
            self._room = shown.size.width
            shown.update(self._text(self._room))

    def _text(self, room: int) -> Content:
        lines: list[Content] = []
        ordered = sorted((*ACTIONS, *LOG_ACTIONS), key=lambda action: _GROUPS.index(action.group))
        for group, actions in groupby(ordered, key=lambda action: action.group):
            lines.append(Content.styled(group, "bold $accent"))
            for action in actions:
                keys = "  ".join(display(key) for key in self._keymap[action.id]) or "-"
                lines.append(_line(room, keys, action.help, action.id))
            lines.append(Content(""))
        lines.append(Content.styled("Moving about", "bold $accent"))
        lines += [_line(room, keys, text) for keys, text in MOVING]
        if self._detach_keys:
            lines.append(
                _line(room, self._detach_keys, "Leave an attached terminal; its process goes on.")
            )
        lines += [Content(""), Content.styled("States", "bold $accent")]
        lines += [Content.styled(f"  {words}", f"${role}") for words, role in _STATES]
        lines += [
            Content(""),
            Content.styled('Change keys in config.toml: [keys]  "pod.stop" = "x"', "$muted"),
        ]
        return Content("\n").join(lines)


_GROUPS: Final = ("Pod", "Container", "View", "Console", "In a log")
_ROOM: Final = 89
"""Columns that there are at most, and those that the edges of a dialog take."""
_EDGES: Final = 7
_NAMED: Final = 60
"""Columns from which on there is room for the names of actions."""
_NARROWEST: Final = 16


def _line(room: int, keys: str, text: str, action_id: str = "") -> Content:
    """One entry; words that need more lines than one stand below each other."""
    name = f"{action_id:<17} " if action_id and room >= _NAMED else ""
    first = f"  {keys:<9} "
    indent = " " * (len(first) + len(name))
    words = textwrap.wrap(text, max(room - len(indent), _NARROWEST))
    return Content.assemble((first, "bold $key"), (name, "$muted"), f"\n{indent}".join(words))
