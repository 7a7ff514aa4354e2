"""The main screen: three lists that narrow down (pods, containers, processes) and, for what
is selected in them, the detail pane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from vctui.model.container import ContainerStatus
from vctui.model.pod import PodStatus
from vctui.model.state import State
from vctui.present.columns import CONTAINERS, PODS, PROCESSES, Column
from vctui.present.humanize import plain
from vctui.present.processes import GuestProcess
from vctui.tui.actions import ACTIONS, LOG_ACTIONS, Action, Context, Pane, allowed
from vctui.tui.keymap import Keymap, display
from vctui.tui.messages import ProcessesSampled, Snapshot
from vctui.tui.screens.sheet import Sheet
from vctui.tui.terminal.view import TerminalView
from vctui.tui.widgets.bars import FooterBar, HeaderBar, KeyHint, StatusBar
from vctui.tui.widgets.detail_pane import DetailPane
from vctui.tui.widgets.filter_bar import FilterBar
from vctui.tui.widgets.log_view import ACTS, LogView
from vctui.tui.widgets.table import Table

if TYPE_CHECKING:
    from vctui.model.events import Event
    from vctui.tui.gateway import Gateway

T = TypeVar("T")

WIDE: Final = 110
"""Columns from which on the lists stand beside the details, not above."""
SETTLE: Final = 0.12
"""Seconds that a selection must last before its streams are opened."""

LOG_HINTS: Final = 4
"""How many of a log's keys the footer has room for."""

_NO_PODS: Final = "No pods yet.\n\nPress {run} to run one from a pod file."
_NO_GUEST: Final = "\n\nThe guest image is not built: press {build} to build it first."
_NO_MATCH: Final = "Nothing matches the filter.\nEsc shows everything."


class MainScreen(Sheet[None]):
    HORIZONTAL_BREAKPOINTS = [(0, "compact"), (WIDE, "wide")]  # noqa: RUF012 - Textual's
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,right", "walk(1)", "Next pane", show=False),
        Binding("shift+tab,left", "walk(-1)", "Previous pane", show=False),
        Binding("escape", "step_back", "Back", show=False),
    ]

    def __init__(
        self, gateway: Gateway, keymap: Keymap, *, read_only: bool, detach_keys: str
    ) -> None:
        super().__init__()
        self._detach_keys = detach_keys
        self._gateway = gateway
        self._keymap = keymap
        self._read_only = read_only
        self._connected = False
        self._guest_built = True
        self._snapshot = Snapshot()
        self._pane = Pane.PODS
        self._sampled: tuple[str, str] | None = None
        self._settle: Timer | None = None
        self._selected = ("", "")
        """What `_settle` waits for to last."""
        self._awaited = ""
        self._filtered: Table[Any] | None = None

        self.header = HeaderBar()
        self.pods: Table[PodStatus] = _list("Pods", PODS, lambda pod: pod.id)
        self.containers: Table[ContainerStatus] = _list(
            "Containers", CONTAINERS, lambda container: container.id
        )
        self.processes: Table[GuestProcess] = _list(
            "Processes", PROCESSES, lambda process: str(process.pid)
        )
        self._lists = Container(id="lists")
        self._zoomed = False
        self.detail = DetailPane(gateway, read_only=read_only, detach_keys=detach_keys)
        self._tables: dict[Pane, Table[Any]] = {
            Pane.PODS: self.pods,
            Pane.CONTAINERS: self.containers,
            Pane.PROCESSES: self.processes,
        }
        self.filter_bar = FilterBar()
        self.status = StatusBar()
        self.footer = FooterBar()

    def compose(self) -> ComposeResult:
        yield self.header
        with Container(id="body"):
            with self._lists:
                yield self.pods
                yield self.containers
                yield self.processes
            yield self.detail
        yield self.filter_bar
        yield self.status
        yield self.footer

    def on_mount(self) -> None:
        self.header.read_only = self._read_only
        self.pods.focus()
        self.set_interval(1.0, self._tick)
        self._show_pods()
        self.refresh_keys()

    @property
    def context(self) -> Context:
        """What is selected now."""
        marks = self.pods.marked
        return Context(
            pane=self._current_pane(),
            pod=self.pods.current,
            container=self.containers.current,
            process=self.processes.current,
            marked=tuple(pod for pod in self._snapshot.pods if pod.id in marks) if marks else (),
            read_only=self._read_only,
            connected=self._connected,
        )

    def _current_pane(self) -> Pane:
        """The list that has the focus, or had it last. Asked of the screen, which knows at once;
        the widgets hear of it later than a quick typist's next key comes."""
        if self.focused is not None and self.focused.id in self._tables:
            self._pane = Pane(self.focused.id)
        return self._pane

    @property
    def _in_detail(self) -> bool:
        return self.focused is not None and self.detail in self.focused.ancestors_with_self

    @property
    def _in_filter(self) -> bool:
        return self.focused is not None and self.filter_bar in self.focused.ancestors_with_self

    # --- what the engine tells

    def await_pod(self, pod_id: str) -> None:
        """Select this pod as soon as it appears."""
        self._awaited = pod_id

    def connect(self, *, guest_built: bool) -> None:
        self._connected = self.header.connected = True
        self.set_guest_built(guest_built)

    def set_guest_built(self, built: bool) -> None:
        self._guest_built = built
        self._show_pods()
        self.refresh_keys()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.header.count(snapshot.pods)
        self.header.accelerator = snapshot.accelerator
        self._show_pods()
        self.detail.show_events(snapshot.events)

    def show_processes(self, sample: ProcessesSampled) -> None:
        if (sample.pod_id, sample.container_id) == self._sampled:
            self.processes.empty = sample.problem or "No processes."
            self.processes.set_items(sample.processes)
            self._count(self.processes, "Processes")

    def add_event(self, event: Event) -> None:
        """One of the console itself."""
        self.detail.add_event(event)

    def _show_pods(self) -> None:
        pods = self.pods
        if not self._connected:
            pods.empty = "Opening the engine…"
        elif pods.filter_text and self._snapshot.pods:
            pods.empty = _NO_MATCH
        else:
            run, build = self.key_of("pod.run"), self.key_of("guest.build")
            guest = "" if self._guest_built else _NO_GUEST.format(build=build)
            pods.empty = _NO_PODS.format(run=run) + guest
        pods.set_items(self._snapshot.pods)
        if self._awaited and pods.select(self._awaited):
            self._awaited = ""
        self._count(pods, "Pods")
        self._show_containers()

    def _show_containers(self) -> None:
        pod = self.pods.current
        self.containers.empty = "No containers." if pod else ""
        self.containers.set_items(pod.containers_status if pod else ())
        self._count(self.containers, "Containers")
        self._show_selection()

    def _show_selection(self) -> None:
        """The selection or its state may have changed."""
        pod, container = self.pods.current, self.containers.current
        sampled = None
        if pod and container and _answers(pod, container):
            sampled = (pod.id, container.id)
        if sampled != self._sampled:
            self._sampled = sampled
            self.processes.set_items(())
            self._count(self.processes, "Processes")
            self.processes.empty = "Asking the guest…"
        if sampled is None:
            self.processes.empty = _why_no_processes(pod)
        self._watch_processes()
        selected = (pod.id if pod else "", container.id if container else "")
        if self._settle is None or selected != self._selected:  # a mere change does not put it off
            if self._settle is not None:
                self._settle.stop()
            self._selected = selected
            self._settle = self.set_timer(SETTLE, self._show_detail)
        self.refresh_keys()

    def _show_detail(self) -> None:
        self._settle = None
        self.detail.show(self.pods.current, self.containers.current)

    def _watch_processes(self) -> None:
        """Sampling costs the guest work: only while somebody can see the result."""
        seen = self.is_active and self.processes.is_on_screen
        self._gateway.watch_processes(self._sampled if seen else None)

    def _count(self, table: Table[Any], title: str) -> None:
        shown, total = len(table.rows), table.total
        number = f"{shown}/{total}" if shown != total else f"{total}"
        table.entitle(
            f"{title} {number}" if total else title,
            f"/{table.filter_text}" if table.filter_text else "",
        )

    def _tick(self) -> None:
        for table in (self.pods, self.containers):
            table.tick()
        self.detail.tick()

    def on_screen_suspend(self) -> None:
        self._gateway.watch_processes(None)

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        self._watch_processes()

    # --- selection and focus

    @on(Table.Highlighted, "#pods")
    def _pod_selected(self) -> None:
        self._show_containers()

    @on(Table.Highlighted, "#containers")
    def _container_selected(self) -> None:
        self._show_selection()

    @on(Table.Highlighted, "#processes")
    def _process_selected(self) -> None:
        self.refresh_keys()

    @on(Table.Marked)
    def _marks_changed(self) -> None:
        marked = len(self.pods.marked)
        self.status.hint = f"{marked} marked" if marked else ""
        self.refresh_keys()

    @on(Table.Activated, "#pods")
    def _pod_opened(self) -> None:
        self.set_focus(self.containers)

    @on(Table.Activated, "#containers")
    async def _container_opened(self) -> None:
        await self.app.run_action("app.act('container.attach')")

    @on(Table.Activated, "#processes")
    async def _process_opened(self) -> None:
        process = self.processes.current
        if process and process.token:
            await self.app.run_action("app.act('container.attach')")

    @on(Table.Activated, "#event-table")
    def _event_opened(self, message: Table.Activated) -> None:
        from vctui.tui.screens.notice import Notice

        event: Event | None = message.table.current
        if event is not None:
            title = "/".join(filter(None, (event.pod_id, event.container_id))) or "Event"
            self.app.push_screen(Notice(title, Content(plain(event.message, 10_000))))

    def on_descendant_focus(self) -> None:
        self.refresh_keys()

    @on(LogView.Switched)
    def _log_switched(self) -> None:
        self.refresh_keys()

    def refresh_keys(self) -> None:
        """The footer: what is possible with the selection, or in what has the focus."""
        self.footer.hints = tuple(self._hints())

    def _hints(self) -> Iterator[KeyHint]:
        if isinstance(self.focused, TerminalView) and self.focused.captures_keys:
            if self._detach_keys:
                yield KeyHint(self._detach_keys.replace(",", " "), "leave the console")
            return
        if self._in_filter:
            yield KeyHint("Enter", "keep the filter")
            yield KeyHint("Esc", "show everything")
            return
        if isinstance(self.focused, LogView) and self.focused.searching:
            yield KeyHint("Enter", "find")
            yield KeyHint("Esc", "leave the search")
            return
        if isinstance(self.focused, LogView):
            for action in LOG_ACTIONS[:LOG_HINTS]:
                if keys := self._keymap[action.id]:
                    yield KeyHint(display(keys[0]), action.label, ACTS[action.id])
        context = self.context
        shown: set[str] = set()
        for action in ACTIONS:
            key = next(iter(self._keymap[action.id]), "")
            if action.footer and key and key not in shown and allowed(action, context):
                shown.add(key)
                yield KeyHint(display(key), action.label, f"app.act({action.id!r})")

    def key_of(self, action_id: str) -> str:
        keys = self._keymap[action_id]
        return display(keys[0]) if keys else "(no key)"

    def action_walk(self, step: int) -> None:
        """Focus the next pane that is shown."""
        panes: list[Widget] = [self.pods, self.containers, self.processes, self.detail.inner]
        panes = [pane for pane in panes if pane.is_on_screen]
        if not panes:
            return
        if self._in_detail:
            here = len(panes) - 1
        else:
            here = next((n for n, pane in enumerate(panes) if pane is self.focused), -1)
        self.set_focus(panes[(here + step) % len(panes)])

    def action_step_back(self) -> None:
        """Undo the innermost special state: filter, marks, zoom."""
        self.step_back()

    def step_back(self) -> bool:
        table = self._filterable()
        if table is not None and table.filter_text:
            table.filter_text = ""
            self._show_pods()
        elif self.pods.marked:
            self.pods.clear_marks()
        elif self._zoomed:
            self.zoom()
        else:
            return False
        return True

    # --- what the keys of the view do

    def view_action(self, action: Action) -> bool:
        """Do an action that only changes what is shown; False for any other."""
        name = action.id
        views: dict[str, Callable[[], object]] = {
            "view.zoom": self.zoom,
            "view.console": self._type_into_console,
            "view.log": lambda: self.open_tab("log", focus=True),
            "view.describe": lambda: self.open_tab("details", focus=True),
            "view.copy": self._copy,
            "list.filter": self._filter,
            "list.sort": self._sort,
            "list.mark": self.pods.toggle_mark,
            "list.range": self.pods.mark_range,
            "list.all": self.pods.mark_all,
        }
        if name.startswith("tab."):
            self.open_tab(name.removeprefix("tab."))
        elif name in views:
            views[name]()
        else:
            return False
        return True

    def open_tab(self, tab: str, *, focus: bool = False) -> None:
        inside = self._in_detail
        self.detail.active = tab
        if focus or inside:
            self.set_focus(self.detail.inner)

    def _type_into_console(self) -> None:
        self.detail.active = "console"
        self.detail.type_into_console()

    def zoom(self) -> None:
        """The focused pane gets the whole body, or gives it back."""
        zoomed = self._zoomed = not self._zoomed
        detail = self._in_detail
        chosen = self._tables[self._current_pane()]
        self.detail.display = detail or not zoomed
        self._lists.display = not (detail and zoomed)
        for table in self._tables.values():
            table.display = table is chosen or not zoomed
        self._lists.set_class(zoomed, "zoomed")
        self.call_after_refresh(self._watch_processes)

    def _copy(self) -> None:
        context = self.context
        chosen = {
            Pane.PODS: context.pod and context.pod.id,
            Pane.CONTAINERS: context.container and context.container.id,
            Pane.PROCESSES: context.process and str(context.process.pid),
        }[context.pane]
        if chosen:
            self.app.copy_to_clipboard(chosen)
            self.notify(f"copied {chosen}", timeout=2)

    def _filterable(self) -> Table[Any] | None:
        if self._in_detail:
            return self.detail.table
        return self._tables[self._current_pane()]

    def _filter(self) -> None:
        if (table := self._filterable()) is not None:
            self.status.display = False  # its line is the filter's: nothing else has to move
            self.filter_bar.open(table.filter_text, str(table.border_title or "events"))
            self._filtered = table

    @on(FilterBar.Changed)
    def _filter_typed(self, message: FilterBar.Changed) -> None:
        if self._filtered is not None:
            self._filtered.filter_text = message.text
            self._show_pods()

    @on(FilterBar.Closed)
    def _filter_done(self) -> None:
        self.status.display = True
        if self._filtered is not None:
            self.set_focus(self._filtered)

    def _sort(self) -> None:
        table = self._filterable()
        if table is None:
            return

        def sort(chosen: str | None) -> None:
            if chosen == "-":
                table.sort_column = ""
            elif chosen:
                table.sort_by(chosen)

        from vctui.tui.screens.choose import Choose

        columns = [(column.id, column.title.lower()) for column in table.columns]
        options = [("-", "as listed"), *columns]
        self.app.push_screen(Choose("Sort by", options, table.sort_column or "-"), sort)


def _list(title: str, columns: tuple[Column[T], ...], key: Callable[[T], str]) -> Table[T]:
    table = Table(columns, key, id=title.lower())
    table.entitle(title)
    table.add_class("pane")
    return table


def _answers(pod: PodStatus, container: ContainerStatus) -> bool:
    return pod.state is State.RUNNING and container.state is State.RUNNING and not pod.operation


def _why_no_processes(pod: PodStatus | None) -> str:
    if pod is None:
        return ""
    if pod.state is State.PAUSED:
        return "The machine is paused."
    if pod.operation:
        return "The pod is being changed."
    return "Nothing runs here."
