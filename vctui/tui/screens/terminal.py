"""A process's terminal on the whole screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.screen import ModalScreen

from vctui.tui.terminal.session import SessionState, TerminalSession
from vctui.tui.terminal.view import TerminalView

if TYPE_CHECKING:
    from vctui.drivers.shims.base import Attachment


class TerminalScreen(ModalScreen[str]):
    """Dismissed with what became of the process, in words."""

    CSS_PATH = "../styles/dialogs.tcss"

    def __init__(
        self, attachment: Attachment, title: str, detach_keys: str, *, rows: int, columns: int
    ) -> None:
        super().__init__()
        self._session = TerminalSession(
            attachment, title=title, detach_keys=detach_keys, rows=rows, columns=columns
        )

    def compose(self) -> ComposeResult:
        yield TerminalView(self._session)

    def on_mount(self) -> None:
        self.query_one(TerminalView).focus()

    def on_terminal_view_closed(self, message: TerminalView.Closed) -> None:
        session = message.session
        if session.state is SessionState.DETACHED:
            self.dismiss("Detached; the process goes on. Attach again from the processes pane.")
        elif session.exit_code == 0:
            self.dismiss("")
        else:
            self.dismiss(f"The process has ended: {session.status}.")

    async def on_unmount(self) -> None:
        await self._session.detach()
