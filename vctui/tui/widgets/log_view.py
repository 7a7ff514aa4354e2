"""A log: its newest lines, followed, searched and wrapped, however fast they come.

Lines are kept as they came; only what is on the screen is ever parsed and painted. So taking
in lines costs next to nothing, and of more lines than the ring holds the first cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, Final, Literal, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from vctui.model.logs import LogLine
from vctui.tui.actions import LOG_ACTIONS
from vctui.tui.terminal import paint
from vctui.tui.terminal.cells import PLAIN, Run, split_cells
from vctui.tui.widgets import log_line
from vctui.tui.widgets.log_layout import Layout
from vctui.tui.widgets.log_ring import MAX_LINES, LogRing
from vctui.tui.widgets.log_search import Match, Search

NOTE: Final = "note"
"""The stream of what the console itself says between the lines."""

ACTS: Final[dict[str, str]] = {
    "log.follow": "switch('follow')",
    "log.wrap": "switch('wrapping')",
    "log.timestamps": "switch('timestamps')",
    "log.search": "search",
    "log.next": "next_match(1)",
    "log.previous": "next_match(-1)",
    "log.copy": "copy",
    "log.clear": "clear",
}
"""What they are, as Textual spells it."""

_FRAME: Final = 1 / 20
"""Seconds between two looks at what has come in."""
_FLOOD: Final = 100
_FLOOD_FRAME: Final = 1 / 8
"""Where so many lines wait at once nobody can read them: fewer pictures leave time for keys."""
_BUSY: Final = 0.01
"""Seconds of a frame for taking it in, and how many lines are taken between two looks at the
clock."""
_CHUNK: Final = 500
_KEPT: Final = 256
"""Lines that stay painted."""
_NO_TIME: Final = " " * 13


class _Painted(NamedTuple):
    strip: Strip
    starts: list[int]
    """The columns at which its rows begin."""


class LogView(ScrollView, can_focus=True):
    """Scrolling up stops following, scrolling to the end follows again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log-view--time",
        "log-view--stderr",
        "log-view--note",
        "log-view--match",
        "log-view--match-current",
        "log-view--prompt",
    }
    DEFAULT_CSS = """
    LogView {
        background: $background;
        color: $foreground;
        overflow-y: scroll;

        & > .log-view--time { color: $text-muted; }
        & > .log-view--stderr { color: $text-warning; }
        & > .log-view--note { color: $text-muted; text-style: italic; }
        & > .log-view--match { background: $warning-muted; color: $text; }
        & > .log-view--match-current { background: $warning; color: $background; }
        & > .log-view--prompt { background: $surface; color: $text; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(",".join(action.keys), ACTS[action.id], action.label, show=False, id=action.id)
            for action in LOG_ACTIONS
        ),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("j", "scroll_down", "Down", show=False),
        Binding("g", "scroll_home", "First", show=False),
        Binding("G", "scroll_end", "Last", show=False),
    ]

    class Switched(Message):
        """It is in another mode: `mode` or `searching` say something else."""

    follow: reactive[bool] = reactive(True, init=False, repaint=False)
    wrapping: reactive[bool] = reactive(False, init=False, repaint=False)
    timestamps: reactive[bool] = reactive(False, init=False, repaint=False)

    def __init__(
        self,
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's word
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._ring = LogRing()
        self._rows = Layout()
        self._incoming: list[LogLine] = []
        self._frame: Timer | None = None
        self._placing = False
        """The scroll position is being set by the view, not by the operator."""
        self._longest = 0
        self._wrap_width = 0
        self._cache: dict[int, _Painted] = {}
        self._prompt: str | None = None
        self._search: Search | None = None
        self._match: Match | None = None
        self._base = Style()
        self._seen = Size()
        self._seen_from = 0
        self._painting = False

    # What it holds

    @property
    def line_count(self) -> int:
        return len(self._ring)

    @property
    def dropped(self) -> int:
        """Lines that came and are not here any more."""
        return self._ring.first

    @property
    def searching(self) -> bool:
        """Words to look for are being typed."""
        return self._prompt is not None

    @property
    def mode(self) -> str:
        """For the edge of the pane: `following · wrapped · /word`."""
        words = ["following" if self.follow else "not following"]
        if self.wrapping:
            words.append("wrapped")
        if self._search is not None and not self.searching:
            words.append(f"/{self._search.text}")
        return " · ".join(words)

    def append(self, lines: Sequence[LogLine]) -> None:
        """Take in lines; they are shown with the next frame.

        When they come faster than even that, the oldest of those that wait are only counted.
        """
        self._incoming += lines
        excess = len(self._incoming) - MAX_LINES
        if excess > MAX_LINES:
            self._ring.skip(excess)
            del self._incoming[:excess]
            self._lay_out()
        if self._frame is None and self._incoming and self.is_attached:
            wait = _FRAME if len(self._incoming) < _FLOOD else _FLOOD_FRAME
            self._frame = self.set_timer(wait, self._show_incoming)

    def note(self, text: str) -> None:
        """Say something between the lines, such as why no more come."""
        self.append([LogLine(text=text.encode(), stream=NOTE)])

    def clear(self) -> None:
        self._incoming.clear()
        self._ring.clear()
        self._match = None
        self._longest = 0
        self._lay_out()

    def on_mount(self) -> None:
        self._show_incoming()

    def on_resize(self) -> None:
        if self.wrapping and self.scrollable_content_region.width != self._wrap_width:
            self._lay_out()
        else:
            self._place(self._top_row)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._cache.clear()

    # Rows. They are numbered since the first one ever; a first row on the screen tells how
    # many lines were dropped.

    @property
    def _notice(self) -> int:
        return 1 if self._ring.first else 0

    @property
    def _prefix(self) -> int:
        return len(_NO_TIME) if self.timestamps else 0

    @property
    def _top_row(self) -> int:
        return self._rows.first_row - self._notice + self.scroll_offset.y

    def _show_incoming(self) -> None:
        self._frame = None
        if self._incoming:
            top = self._top_row
            self._take_in()
            self._place(top)
            self.append(())  # what is left, with the next frame

    def _take_in(self) -> None:
        """As much as fits into a part of a frame."""
        until = time.perf_counter() + _BUSY
        taken = 0
        while taken < len(self._incoming) and time.perf_counter() < until:
            lines = self._incoming[taken : taken + _CHUNK]
            taken += len(lines)
            changed = self._ring.append(lines)
            self._cache.pop(changed, None)
            self._rows.cut(changed)
            self._rows.drop(self._ring.first)
            self._add_rows()
        del self._incoming[:taken]
        if self.follow and taken >= self._seen.height:
            self._cache.clear()  # all that was painted has gone by: let it go while it is young

    def _add_rows(self) -> None:
        lines = self._ring.lines(self._rows.end_line)
        width, prefix = self._wrap_width, self._prefix
        if width:
            self._rows.extend([log_line.rows(line.text, prefix, width) for line in lines])
        else:
            self._rows.extend([1] * len(lines))
        self._longest = max(self._longest, max((len(line.text) for line in lines), default=0))

    def _lay_out(self) -> None:
        """Find the rows of all lines anew; the line on top stays there."""
        located = self._rows.line_at(self._top_row)
        self._cache.clear()
        self._wrap_width = self.scrollable_content_region.width if self.wrapping else 0
        self._rows = Layout(self._ring.first)
        self._add_rows()
        here = located is not None and self._ring.first <= located[0] < self._ring.end
        self._place(self._rows.row_of(located[0]) if located and here else 0)

    def _place(self, top: int) -> None:
        """Scroll to the end while following, else so that row `top` is the first."""
        height = self._rows.end_row - self._rows.first_row + self._notice
        size = Size(self._wrap_width or self._prefix + self._longest, height)
        self._placing = True
        if size.width == self.virtual_size.width:
            # Without a new layout of the whole screen, twenty times a second.
            self.set_reactive(LogView.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = height
        else:
            self.virtual_size = size
        y = self.max_scroll_y if self.follow else top - self._rows.first_row + self._notice
        self.scroll_to(y=min(max(0, y), self.max_scroll_y), animate=False, force=True)
        self._placing = False
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._placing:
            self.follow = self.is_vertical_scroll_end

    def watch_follow(self) -> None:
        if self.follow and not self.is_vertical_scroll_end:
            self._place(self._top_row)
        self.post_message(self.Switched())

    def watch_wrapping(self) -> None:
        self._lay_out()
        self.post_message(self.Switched())

    def watch_timestamps(self) -> None:
        self._lay_out()

    # Painting

    def _runs(self, line: LogLine) -> tuple[Run, ...]:
        runs = log_line.parse(line.text)
        return (Run(self._time(line), len(_NO_TIME), PLAIN), *runs) if self.timestamps else runs

    def _time(self, line: LogLine) -> str:
        if line.time is None:
            return _NO_TIME
        return f"{line.time.astimezone():%H:%M:%S.%f}"[:12] + " "

    def _paint(self, number: int) -> _Painted:
        painted = self._cache.get(number)
        if painted is None:
            if len(self._cache) >= _KEPT:
                del self._cache[next(iter(self._cache))]
            painted = self._cache[number] = self._paint_anew(number)
        return painted

    def _paint_anew(self, number: int) -> _Painted:
        line = self._ring[number]
        base = self._base
        if line.stream in {"stderr", NOTE}:
            base += self._part_style(f"log-view--{line.stream}")
        runs = self._runs(line)
        strip = paint.strip(runs, base)
        prefix = self._prefix
        if prefix:
            strip = paint.restyle(strip, 0, prefix, self._part_style("log-view--time"))
        if self._search is not None:
            text = log_line.text(line.text)
            for start, end in self._search.spans(line):
                current = self._match == (number, start, end)
                strip = paint.restyle(
                    strip,
                    prefix + cell_len(text[:start]),
                    prefix + cell_len(text[:end]),
                    self._part_style("log-view--match-current" if current else "log-view--match"),
                )
        return _Painted(strip, log_line.wrap(runs, self._wrap_width) if self._wrap_width else [0])

    def _part_style(self, component: str) -> Style:
        return self.get_component_rich_style(component, partial=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        # Asked once: the style is put together from all ancestors, the region from all parents.
        self._base = self.rich_style
        self._seen = self.scrollable_content_region.size
        self._seen_from = self._top_row
        self._painting = True
        try:
            return super().render_lines(crop)
        finally:
            self._painting = False

    def render_line(self, y: int) -> Strip:
        width, height = self._seen
        if self._prompt is not None and y == height - 1:
            return self._line_of_words(f"/{self._prompt}", "log-view--prompt", width)
        row = self._seen_from + y
        located = self._rows.line_at(row)
        if located is None:
            if row < self._rows.first_row:
                words = f"{self.dropped:,} earlier lines dropped"
                return self._line_of_words(words, "log-view--note", width)
            return Strip.blank(width, self._base)
        number, part = located
        strip, starts = self._paint(number)
        if (selection := self.text_selection) and (span := selection.get_span(number)):
            start, end = span
            style = self.screen.get_component_rich_style("screen--selection")
            strip = paint.restyle(strip, start, strip.cell_length if end < 0 else end, style)
        start = starts[part] if self._wrap_width else self.scroll_offset.x
        end = starts[part + 1] if part + 1 < len(starts) else start + width
        strip = strip.crop_extend(start, end, self._base)
        strip = strip.extend_cell_length(width, self._base)
        # Which line it is only a selection wants to know, which asks for one line. For Textual it
        # is part of a style: in pictures that made new styles for each line, and Rich keeps 16,384.
        return strip if self._painting else strip.apply_offsets(start, number)

    def _line_of_words(self, words: str, component: str, width: int) -> Strip:
        style = self._base + self._part_style(component)
        return Strip([Segment(words, style)]).crop_extend(0, width, style)

    # Copying

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Selections count in lines and their cells."""
        first = self._ring.first if selection.start is None else selection.start.y
        last = self._ring.end - 1 if selection.end is None else selection.end.y
        lines = []
        for number in range(max(first, self._ring.first), min(last + 1, self._ring.end)):
            span = selection.get_span(number)
            if span is not None:
                text = "".join(run.text for run in self._runs(self._ring[number]))
                end = None if span[1] < 0 else span[1]
                lines.append("".join(split_cells(text)[span[0] : end]))
        return "\n".join(lines), "\n"

    def action_copy(self) -> None:
        """Copy what is selected, otherwise the lines on the screen."""
        if selection := self.text_selection:
            text, _ = self.get_selection(selection) or ("", "")
        else:
            height = self.scrollable_content_region.height
            located = [self._rows.line_at(self._top_row + y) for y in range(height)]
            numbers = sorted({line[0] for line in located if line is not None})
            text = "\n".join(log_line.text(self._ring[number].text) for number in numbers)
        if text:
            self.app.copy_to_clipboard(text)
            lines = text.count("\n") + 1
            self.notify(f"Copied {lines} {'line' if lines == 1 else 'lines'}.", timeout=2)

    # Keys

    def action_switch(self, what: Literal["follow", "wrapping", "timestamps"]) -> None:
        setattr(self, what, not getattr(self, what))

    def action_scroll_home(self) -> None:
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        self.follow = True

    def action_clear(self) -> None:
        self.clear()

    def action_search(self) -> None:
        self._prompt = ""
        self.refresh()
        self.post_message(self.Switched())

    def action_next_match(self, direction: int) -> None:
        if self._search is None or not self.line_count:
            return
        if self._match is None or not self._ring.first <= self._match.line:
            located = self._rows.line_at(max(self._top_row, self._rows.first_row))
            origin = (located[0] if located else self._ring.first, -1)
        else:
            origin = (self._match.line, self._match.start)
        self._match = self._search.find(self._ring, origin, direction)
        self._cache.clear()
        if self._match is None:
            self.notify("Nothing found.", timeout=2)
        else:
            self._reveal(self._match)
        self.refresh()

    def _reveal(self, match: Match) -> None:
        """Scroll so that the match is on the screen, if it is not."""
        row = self._rows.row_of(match.line)
        height = self.scrollable_content_region.height
        if not self._top_row <= row < self._top_row + height:
            self.follow = False
            self._place(row - height // 2)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self._prompt is not None

    async def on_key(self, event: events.Key) -> None:
        if self._prompt is None:
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self._search = self._match = self._prompt = None
            self._cache.clear()
        elif event.key == "enter":
            self._prompt = None
            self.action_next_match(1)
        elif event.key == "backspace":
            self._look_for(self._prompt[:-1])
        elif event.key == "ctrl+u":
            self._look_for("")
        elif event.character and event.is_printable:
            self._look_for(self._prompt + event.character)
        self.refresh()
        if self._prompt is None:
            self.post_message(self.Switched())

    def _look_for(self, text: str) -> None:
        """Mark what matches so far; enter goes there."""
        self._prompt = text
        self._search = Search(text) if text else None
        self._match = None
        self._cache.clear()
