"""The serial console of the selected pod: live while its machine runs, else what it last said.

Keys go to the guest only after the operator has asked for it; the detach keys lead back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from textual.containers import Vertical
from textual.widget import Widget

from vctui.errors import VctuiError
from vctui.model.logs import LogSource
from vctui.tui import workers
from vctui.tui.terminal.session import TerminalSession
from vctui.tui.terminal.view import TerminalView
from vctui.tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from vctui.model.pod import PodStatus
    from vctui.tui.gateway import Gateway

RETRY: Final = 0.5
"""Seconds until a console that could not be opened is tried again."""
TAIL: Final = 2000
"""Lines of the past that are shown where there is no live console."""


class _Shown(NamedTuple):
    pod_id: str
    machine: str
    """Its uuid; "" where only the record of the console can be shown."""


class ConsoleTab(Vertical, can_focus=True):
    """Focusable itself, so that walking through the panes does not end in the guest."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        read_only: bool,
        detach_keys: str,
        id: str | None = None,  # noqa: A002 - Textual's word
    ) -> None:
        super().__init__(id=id)
        self._gateway = gateway
        self._read_only = read_only
        self._detach_keys = detach_keys
        self._shown: _Shown | None = None
        self._typing = False

    @property
    def inner(self) -> Widget:
        """What takes the focus: the record can be scrolled, the guest must be asked for."""
        return next(iter(self.query(LogView)), self)

    def show(self, pod: PodStatus | None) -> None:
        """Show this pod's console, unless it is being shown already."""
        shown = None
        if pod is not None:
            live = pod.machine is not None and not self._read_only
            shown = _Shown(pod.id, pod.machine.uuid if live and pod.machine else "")
        if shown == self._shown:
            return
        self.release()
        self._shown = shown
        if shown is not None:
            workers.start(self, self._follow(shown), group="console")

    def release(self) -> None:
        """Show nothing."""
        self._shown = None
        self._typing = False
        self.workers.cancel_node(self)
        self.remove_children()

    def type_into(self) -> None:
        """Give the guest the keys, as soon as its console is open."""
        for view in self.query(TerminalView):
            self.screen.set_focus(view)
            return
        if self._shown and self._shown.machine:
            self._typing = True
        else:
            why = "changes are switched off" if self._read_only else "no machine is running"
            self.notify(f"Nothing to type into: {why}.", severity="warning", timeout=4)
            self.screen.set_focus(self.inner)

    async def _follow(self, shown: _Shown) -> None:
        await self.remove_children()
        if not shown.machine:
            await self._record(shown.pod_id)
            return
        why = ""
        while True:
            try:
                await self._live(shown.pod_id)
            except VctuiError as error:
                if error.message != why:
                    why = error.message
                    await self._say(why)
                await asyncio.sleep(RETRY)

    async def _say(self, words: str) -> None:
        """Where the console should be."""
        await self.remove_children()
        view = LogView()
        await self.mount(view)
        view.wrapping = True
        view.note(words)

    async def _record(self, pod_id: str) -> None:
        view = LogView()
        await self.mount(view)
        try:
            stream = await self._gateway.logs(
                pod_id, LogSource.CONSOLE, tail=TAIL, follow=self._read_only
            )
            try:
                async for batch in stream.batches():
                    view.append(batch)
            finally:
                stream.stop()
        except VctuiError as error:
            view.note(error.message)

    async def _live(self, pod_id: str) -> None:
        """Until the operator leaves it, the machine ends, or another pod is selected."""
        attachment = await self._gateway.console(pod_id)
        await self.remove_children()
        session = TerminalSession(attachment, detach_keys=self._detach_keys)
        view = TerminalView(session)
        try:
            await self.mount(view)
            if self._typing:
                self._typing = False
                self.screen.set_focus(view)
            await session.wait()
        finally:
            if self.is_attached and self.screen.focused is view:
                self.screen.set_focus(self)
            await session.detach()
            await view.remove()
        if session.exit_code is None and session.reason:
            await asyncio.sleep(RETRY)
