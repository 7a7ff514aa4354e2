"""What is to be seen of the selection, on seven tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.markup import escape
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from vctui.model.logs import LogSource
from vctui.tui.widgets.console_tab import ConsoleTab
from vctui.tui.widgets.details_tab import DetailsTab
from vctui.tui.widgets.events_tab import EventsTab
from vctui.tui.widgets.log_tab import LogTab
from vctui.tui.widgets.network_tab import NetworkTab
from vctui.tui.widgets.tabs import TabStrip
from vctui.tui.widgets.timeline_tab import TimelineTab

if TYPE_CHECKING:
    from vctui.model.container import ContainerStatus
    from vctui.model.events import Event
    from vctui.model.pod import PodStatus
    from vctui.tui.gateway import Gateway
    from vctui.tui.widgets.table import Table


class DetailPane(Vertical):
    """Only the tab that is seen keeps up with the selection; the others catch up when opened."""

    active: reactive[str] = reactive("console", init=False)

    def __init__(
        self,
        gateway: Gateway,
        *,
        read_only: bool,
        detach_keys: str,
    ) -> None:
        super().__init__(id="detail", classes="pane")
        self._tabs = TabStrip()
        self._console_tab = ConsoleTab(
            gateway, read_only=read_only, detach_keys=detach_keys, id="console"
        )
        self._log_tabs = {
            "agent": LogTab(gateway, LogSource.AGENT, id="agent"),
            "log": LogTab(gateway, LogSource.CONTAINER, id="log"),
        }
        self._events_tab = EventsTab(id="events")
        self._details_tab = DetailsTab(id="details")
        self._timeline_tab = TimelineTab(gateway, id="timeline")
        self._network_tab = NetworkTab(gateway, id="network")
        self._pod: PodStatus | None = None
        self._container: ContainerStatus | None = None
        self._events: tuple[Event, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._tabs
        with ContentSwitcher(initial="console"):
            yield self._console_tab
            yield from self._log_tabs.values()
            yield self._events_tab
            yield self._details_tab
            yield self._timeline_tab
            yield self._network_tab

    @property
    def inner(self) -> Widget:
        """What has the focus when this pane is focused."""
        match self.active:
            case "console":
                return self._console_tab.inner
            case "agent" | "log":
                return self._log_tabs[self.active].view
            case "events":
                return self._events_tab.table
            case "timeline":
                return self._timeline_tab
            case "network":
                return self._network_tab
        return self._details_tab

    @property
    def table(self) -> Table[Any] | None:
        """The table on the tab, where it has one."""
        return self._events_tab.table if self.active == "events" else None

    def watch_active(self, active: str) -> None:
        self._tabs.active = active
        self.query_one(ContentSwitcher).current = active
        self._show()

    def on_tab_strip_chosen(self, message: TabStrip.Chosen) -> None:
        message.stop()
        self.active = message.tab
        self.inner.focus()

    def show(self, pod: PodStatus | None, container: ContainerStatus | None) -> None:
        """The selection, or something about it, has changed."""
        self._pod, self._container = pod, container
        self._show()

    def _show(self) -> None:
        pod, container = self._pod, self._container
        names = [pod.id if pod else "", container.id if container else ""]
        if self.active in ("console", "agent", "timeline", "network"):
            names = names[:1]
        self.border_title = "/".join(filter(None, names)) if self.active != "events" else "Events"
        self._tell_mode()
        for name, tab in self._log_tabs.items():
            if name == self.active:
                tab.show(pod, container)
            elif not tab.follows(pod, container):
                tab.release()
        if self.active == "console":
            self._console_tab.show(pod)
        else:
            self._console_tab.release()
        if self.active == "details":
            self._details_tab.show(pod, container)
        elif self.active == "timeline":
            self._timeline_tab.show(pod)
        elif self.active == "events":
            self._events_tab.show(self._events)
        if self.active == "network":
            self._network_tab.show(pod)
        else:
            self._network_tab.release()

    def on_log_view_switched(self) -> None:
        self._tell_mode()

    def _tell_mode(self) -> None:
        tab = self._log_tabs.get(self.active)
        self.border_subtitle = escape(tab.view.mode) if tab is not None else ""

    def tick(self) -> None:
        """A second has passed: ages are older."""
        if self.active == "details":
            self._details_tab.show(self._pod, self._container)

    def show_events(self, events: tuple[Event, ...]) -> None:
        self._events = events
        if self.active == "events":
            self._events_tab.show(events)

    def add_event(self, event: Event) -> None:
        self._events_tab.add(event)

    def type_into_console(self) -> None:
        """From now on keys go to the guest."""
        self._console_tab.type_into()
