"""A table of live objects: virtual rows over an immutable sequence.

Only what is on the screen is ever put into words, and only lines whose words have changed are
painted again; so thousands of rows that change many times a second cost what is visible.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.geometry import Region, Size
from textual.markup import escape
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vctui.present.columns import Cell, Column, layout

T = TypeVar("T")

GAP: Final = 2
_Painted = tuple[tuple[Cell, ...], bool, bool]


class Table(ScrollView, Generic[T], can_focus=True):
    """Rows are told apart by `key`; the cursor and the marks stay with them wherever they go."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        "table--mark",
        "table--empty",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("enter", "activate", "Open", show=False),
    ]

    filter_text: reactive[str] = reactive("")
    """A regular expression; with `!` in front: what does not match."""
    sort_column: reactive[str] = reactive("")
    """Id of a column; "" is the order of the items."""
    sort_reverse: reactive[bool] = reactive(False)
    empty: reactive[str] = reactive("", repaint=False)
    """Shown where there are no rows."""

    class Highlighted(Message):
        """The cursor is on another row, or the row has changed."""

        def __init__(self, table: Table[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[Any]:
            return self.table

    class Activated(Highlighted):
        """Enter, or a double click."""

    class Marked(Highlighted):
        """Other rows are marked than before."""

    def __init__(
        self,
        columns: tuple[Column[T], ...],
        key: Callable[[T], str],
        *,
        id: str | None = None,  # noqa: A002 - Textual's word
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.marked: frozenset[str] = frozenset()
        self._key = key
        self._clock = clock
        self._items: Sequence[T] = ()
        self._rows: list[T] = []
        self._index: dict[str, int] = {}
        self._cursor = 0
        self._cursor_key = ""
        self._told: T | None = None
        self._range_start = ""
        self._painted: dict[int, _Painted | None] = {}
        self._had_rows = False
        self._texts: dict[int, tuple[T, str]] = {}
        self._layout: list[tuple[Column[T], int]] = []
        self._laid_out = -1
        self._base = Style()
        self._roles: dict[str, Style] = {}
        self._titles = ("", "")

    # --- what it holds

    @property
    def current(self) -> T | None:
        """The item under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def cursor_row(self) -> int:
        return self._cursor

    @property
    def rows(self) -> Sequence[T]:
        """The items that are shown, in their order."""
        return self._rows

    @property
    def total(self) -> int:
        """How many items there are, shown or filtered out."""
        return len(self._items)

    def set_items(self, items: Sequence[T]) -> None:
        """Show `items` from now on."""
        self._items = items
        self._arrange()

    def entitle(self, title: str, subtitle: str = "") -> None:
        """Set words into the upper and the lower edge. Textual paints a widget whole whenever it is
        told its title, the same one too."""
        if (title, subtitle) != self._titles:
            self._titles = (title, subtitle)
            self.border_title, self.border_subtitle = escape(title), escape(subtitle)

    def select(self, key: str) -> bool:
        """Put the cursor on a row; False where there is none of that key."""
        if (row := self._index.get(key)) is None:
            return False
        self._move_to(row)
        return True

    def clear_marks(self) -> None:
        self._set_marks(frozenset())

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor and go to the next."""
        if self._cursor_key:
            self._range_start = self._cursor_key
            self._set_marks(self.marked ^ {self._cursor_key})
            self._move_to(self._cursor + 1)

    def mark_range(self) -> None:
        """Mark everything between the last mark and the cursor."""
        start = self._index.get(self._range_start, self._cursor)
        low, high = sorted((start, self._cursor))
        self._set_marks(self.marked | {self._key(row) for row in self._rows[low : high + 1]})

    def mark_all(self) -> None:
        """Mark every row that is shown, or none if they all are marked."""
        shown = frozenset(self._index)
        self._set_marks(frozenset() if shown <= self.marked else self.marked | shown)

    def tick(self) -> None:
        """Time has passed: repaint the lines whose words depend on it."""
        if self.is_on_screen:
            self._repaint_changed()

    # --- order

    def _arrange(self) -> None:
        matches = self._matcher()
        rows = [item for item in self._items if matches(item)] if matches else list(self._items)
        column = next((c for c in self.columns if c.id == self.sort_column), None)
        if column is not None:
            rows.sort(key=column.sort_key, reverse=self.sort_reverse)
        self._rows = rows
        self._index = {self._key(row): number for number, row in enumerate(rows)}
        all_keys = self._index if matches is None else {self._key(item) for item in self._items}
        if gone := self.marked - set(all_keys):
            self._set_marks(self.marked - gone)
        if len(self._texts) > 2 * len(self._items) + 100:
            self._texts.clear()
        size = Size(0, len(rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self._cursor = self._index.get(self._cursor_key, min(self._cursor, len(rows) - 1))
        self._cursor = max(self._cursor, 0)
        self._cursor_key = self._key(rows[self._cursor]) if rows else ""
        self._repaint_changed()
        self._tell()

    def _matcher(self) -> Callable[[T], bool] | None:
        text = self.filter_text
        wanted = not text.startswith("!")
        text = text.removeprefix("!")
        if not text:
            return None
        flags = re.IGNORECASE if text.islower() else 0
        try:
            search = re.compile(text, flags).search
        except re.error:
            search = re.compile(re.escape(text), flags).search
        return lambda item: bool(search(self._text(item))) is wanted

    def _text(self, item: T) -> str:
        known = self._texts.get(id(item))
        if known is None or known[0] is not item:
            now = self._clock()
            known = (item, " ".join(column.cell(item, now).text for column in self.columns))
            self._texts[id(item)] = known
        return known[1]

    def watch_filter_text(self) -> None:
        self._arrange()

    def watch_sort_column(self) -> None:
        self._arrange()
        self.refresh()

    def watch_sort_reverse(self) -> None:
        self._arrange()
        self.refresh()

    def watch_empty(self) -> None:
        if not self._rows:
            self.refresh()

    def sort_by(self, column_id: str) -> None:
        """Sort by a column; by the same one again: the other way round."""
        if column_id == self.sort_column:
            self.sort_reverse = not self.sort_reverse
        else:
            self.set_reactive(Table.sort_reverse, False)
            self.sort_column = column_id

    # --- cursor and marks

    def _set_marks(self, marks: frozenset[str]) -> None:
        if marks != self.marked:
            self.marked = marks
            self._repaint_changed()
            self.post_message(self.Marked(self))

    def _move_to(self, row: int) -> None:
        if not self._rows:
            return
        self._cursor = max(0, min(row, len(self._rows) - 1))
        self._cursor_key = self._key(self._rows[self._cursor])
        self._scroll_to_cursor()
        self._repaint_changed()
        self._tell()

    def _scroll_to_cursor(self) -> None:
        visible = self._visible_rows
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif visible and self._cursor >= top + visible:
            self.scroll_to(y=self._cursor - visible + 1, animate=False)

    def _tell(self) -> None:
        if self.current != self._told:
            self._told = self.current
            self.post_message(self.Highlighted(self))

    @property
    def _visible_rows(self) -> int:
        return max(self.scrollable_content_region.height - 1, 0)

    def action_move(self, step: int) -> None:
        self._move_to(self._cursor + step)

    def action_page(self, direction: int) -> None:
        self._move_to(self._cursor + direction * max(self._visible_rows - 1, 1))

    def action_edge(self, direction: int) -> None:
        self._move_to(0 if direction < 0 else len(self._rows) - 1)

    def action_activate(self) -> None:
        if self.current is not None:
            self.post_message(self.Activated(self))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            if column := self._column_at(offset.x):
                self.sort_by(column.id)
            return
        row = self.scroll_offset.y + offset.y - 1
        if row < len(self._rows):
            self._move_to(row)
            if event.chain == 2:
                self.action_activate()

    def _column_at(self, x: int) -> Column[T] | None:
        right = 1
        for column, width in self._layout:
            right += width + GAP
            if x < right:
                return column
        return None

    # --- painting

    def on_resize(self) -> None:
        self._lay_out()
        self._scroll_to_cursor()

    def _lay_out(self) -> None:
        """Find which columns there is room for now."""
        if (width := self._line_width) != self._laid_out:
            self._laid_out = width
            self._layout = layout(self.columns, max(width - 2, 0), GAP)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._roles.clear()
        self.refresh()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    @property
    def _line_width(self) -> int:
        return self.scrollable_content_region.width

    def _cells(self, row: int, now: datetime) -> _Painted | None:
        if row >= len(self._rows):
            return None
        item = self._rows[row]
        cells = tuple(column.cell(item, now) for column, _ in self._layout)
        return cells, row == self._cursor, self._key(item) in self.marked

    def _repaint_changed(self) -> None:
        now, top = self._clock(), self.scroll_offset.y
        if bool(self._rows) is not self._had_rows:
            self._had_rows = bool(self._rows)
            self.refresh()
            return
        for y, painted in self._painted.items():
            if painted != self._cells(top + y - 1, now):
                self.refresh(Region(0, y, self._line_width, 1))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._painted.clear()

    def render_lines(self, crop: Region) -> list[Strip]:
        self._lay_out()
        self._base = self.rich_style  # asked once: it is put together from all ancestors
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        width = self._laid_out
        if y == 0:
            return self._header(width)
        painted = self._cells(self.scroll_offset.y + y - 1, self._clock())
        self._painted[y] = painted
        if painted is None:
            return self._blank(y, width)
        return self._row(painted, width)

    def _header(self, width: int) -> Strip:
        style = self.get_component_rich_style("table--header")
        parts = []
        for column, room in self._layout:
            title = column.title
            if column.id == self.sort_column:
                title = set_cell_size(title, min(len(title), room - 1)).rstrip()
                title += "▼" if self.sort_reverse else "▲"
            parts.append(_fit(title, room, column.align))
        text = " " + (" " * GAP).join(parts)
        return Strip([Segment(set_cell_size(text, width), style)], width)

    def _blank(self, y: int, width: int) -> Strip:
        if not self._rows and self.empty and width > 4:
            lines = [
                line
                for text in self.empty.split("\n")
                for line in textwrap.wrap(text, width - 2) or [""]
            ]
            if y - 1 < len(lines):
                text = set_cell_size(f" {lines[y - 1]}", width)
                style = self.get_component_rich_style("table--empty")
                return Strip([Segment(text, style)], width)
        return Strip.blank(width, self._base)

    def _row(self, painted: _Painted, width: int) -> Strip:
        cells, is_cursor, is_marked = painted
        base = self._base
        if is_cursor:
            base += self.get_component_rich_style("table--cursor")
        mark = base
        if is_marked:
            mark += self.get_component_rich_style("table--mark", partial=True)
        segments = [Segment("✓" if is_marked else " ", mark)]
        used = 1
        for number, ((column, room), cell) in enumerate(zip(self._layout, cells, strict=True)):
            style = mark if number == 0 else base
            if cell.role:
                style += self._role_style(cell.role)
            segments.append(Segment(_fit(cell.text, room, column.align), style))
            segments.append(Segment(" " * GAP, base))
            used += room + GAP
        return Strip(segments, used).adjust_cell_length(width, base)

    def _role_style(self, role: str) -> Style:
        """A colour of the theme."""
        if (style := self._roles.get(role)) is None:
            colour = Color.parse(self.app.theme_variables[role])
            style = self._roles[role] = Style(color=colour.rich_color)
        return style


def _fit(text: str, width: int, align: str) -> str:
    """`text` in exactly `width` columns of the screen."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    pad = " " * (width - length)
    return pad + text if align == "right" else text + pad
