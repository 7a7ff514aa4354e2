"""What happened on this host, the newest first; the whole text of the selected event below."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from vctui.model.events import Event
from vctui.present.columns import EVENT_ROLES, EVENTS
from vctui.present.humanize import moment, plain
from vctui.tui.widgets.table import Table


class EventsTab(Vertical):
    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._feed: tuple[Event, ...] = ()
        self._own: list[Event] = []
        self.table: Table[Event] = Table(
            EVENTS, lambda event: f"{event.seq}:{event.time.timestamp()}", id="event-table"
        )
        self.table.empty = "Nothing has happened yet."
        self._text = Static(id="event-text")

    def compose(self) -> ComposeResult:
        yield self.table
        yield self._text

    def show(self, feed: tuple[Event, ...]) -> None:
        """The engine's events."""
        if feed is not self._feed:
            self._feed = feed
            self._merge()

    def add(self, event: Event) -> None:
        """One of the console itself, which the engine does not know of."""
        self._own.append(event)
        self._merge()

    def _merge(self) -> None:
        told = {event.message for event in self._feed[-50:]}
        own = [event for event in self._own if event.message not in told]
        everything: Sequence[Event] = self._feed
        if own:
            everything = sorted((*self._feed, *own), key=attrgetter("time"))
        table = self.table
        at_top = table.cursor_row == 0
        table.set_items(everything[::-1])
        if at_top:
            table.action_edge(-1)

    def on_table_highlighted(self, message: Table.Highlighted) -> None:
        message.stop()
        event: Event | None = message.table.current
        text = Content("")
        if event is not None:
            role = EVENT_ROLES.get(event.kind.value, "foreground")
            text = Content.assemble(
                (f"{moment(event.time)}  ", "$muted"),
                (plain(event.message, 2000), f"${role}"),
            )
        self._text.update(text)
