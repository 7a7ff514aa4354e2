"""A process's terminal on the whole screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from vctui.errors import VctuiError
from vctui.tui import workers
from vctui.tui.screens.sheet import Sheet
from vctui.tui.terminal import keys
from vctui.tui.terminal.session import SessionState, TerminalSession
from vctui.tui.terminal.view import TerminalView

if TYPE_CHECKING:
    from vctui.drivers.shims.base import Attachment

OpenTerminal = Callable[[int, int], Awaitable["Attachment"]]
"""Starts or joins the process, whose terminal has these rows and columns."""


class TerminalScreen(ModalScreen[str | VctuiError], Sheet[str | VctuiError]):
    """Dismissed with what became of the process, in words, or why there is none.

    It is there at once; what is typed while the process is being started waits for it, so that
    a quick typist's words never end up as keys of the console.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "Do not wait", show=False, priority=True)
    ]

    def __init__(self, open_terminal: OpenTerminal, title: str, detach_keys: str) -> None:
        super().__init__()
        self._open_terminal = open_terminal
        self._title = title
        self._detach_keys = detach_keys
        self._typed: list[events.Key] = []
        self._session: TerminalSession | None = None
        self._frame = Vertical(classes="opening")

    def compose(self) -> ComposeResult:
        self._frame.border_title = self._title
        self._frame.border_subtitle = "opening… · escape leaves"
        yield self._frame

    def on_mount(self) -> None:
        workers.start(self, self._open(), group="open")

    async def _open(self) -> None:
        rows, columns = self.app.size.height - 2, self.app.size.width - 2
        try:
            attachment = await self._open_terminal(rows, columns)
        except VctuiError as error:
            self.dismiss(error)
            return
        session = TerminalSession(
            attachment,
            title=self._title,
            detach_keys=self._detach_keys,
            rows=rows,
            columns=columns,
        )
        view = TerminalView(session)
        await self.mount(view)
        await self._frame.remove()
        self.set_focus(view)
        for event in self._typed:
            session.type(keys.encode_key(event.key, event.character, session.emulator.modes))
        self._session = session

    def on_key(self, event: events.Key) -> None:
        if self._session is None:
            event.stop()
            event.prevent_default()
            self._typed.append(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "give_up" or self._session is None

    def action_give_up(self) -> None:
        self.dismiss("Left; what was started goes on.")

    def on_terminal_view_closed(self, message: TerminalView.Closed) -> None:
        session = message.session
        if session.state is SessionState.DETACHED:
            self.dismiss("Detached; the process goes on. Attach again from the processes pane.")
        elif session.exit_code == 0:
            self.dismiss("")
        else:
            self.dismiss(f"The process has ended: {session.status}.")

    async def on_unmount(self) -> None:
        if self._session is not None:
            await self._session.detach()
