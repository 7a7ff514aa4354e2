"""Lets a focused terminal have every key, the application's own ones too.

Textual runs an application's priority bindings (ctrl+q, ctrl+p) before the focused widget
hears of a key. A terminal must get those keys as well, so an application with a terminal in
it inherits from KeyCapture.
"""

from __future__ import annotations

from typing import TypeVar

from textual.app import App

from vctui.tui.terminal.view import TerminalView

ReturnType = TypeVar("ReturnType")


class KeyCapture(App[ReturnType]):
    """An App whose bindings are silent while an attached terminal has the focus."""

    @property
    def _terminal_focused(self) -> bool:
        return isinstance(self.focused, TerminalView) and self.focused.captures_keys

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        if self._terminal_focused:
            return False
        return await super()._check_bindings(key, priority)

    @property
    def escape_to_minimize(self) -> bool:
        return not self._terminal_focused and super().escape_to_minimize
