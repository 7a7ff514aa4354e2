"""The grid: lines, cursor, margins, tabs, and what moves and erases them.

Pure. Rows and columns count from 0. `x` equal to `columns` means that the last column was
written and the next character wraps first (DECAWM's pending wrap). Counts may be anything
not negative; they are clamped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from vctui.tui.terminal.cells import (
    DEFAULT_COLOR,
    PLAIN,
    Line,
    Row,
    Run,
    Style,
    char_width,
    is_narrow,
    split_cells,
)
from vctui.tui.terminal.history import History

MIN_ROWS: Final = 1
MIN_COLUMNS: Final = 2
MAX_SIDE: Final = 1000
_TAB: Final = 8

Charset = Mapping[int, str] | None


class _Saved(NamedTuple):
    """What DECSC saves."""

    x: int = 0
    y: int = 0
    style: Style = PLAIN
    charsets: tuple[Charset, Charset] = (None, None)
    shift: int = 0
    origin: bool = False


class Screen:
    """The main screen, with history, and the alternate one, without."""

    def __init__(self, rows: int, columns: int, history: History) -> None:
        self.history = history
        self.rows, self.columns = _fit(rows, columns)
        self.reset()

    def reset(self) -> None:
        """RIS; the history stays."""
        self.lines = [Line() for _ in range(self.rows)]
        self._main: list[Line] | None = None
        self._main_saved = _Saved()
        self._tabs = set(range(0, self.columns, _TAB))
        self.soft_reset()
        self.x = self.y = 0

    def soft_reset(self) -> None:
        """DECSTR: all but the contents and the cursor's place."""
        self.top, self.bottom = 0, self.rows - 1
        self.style = PLAIN
        self.autowrap = True
        self.insert_mode = False
        self.origin = False
        self._charsets: tuple[Charset, Charset] = (None, None)
        self._shift = 0
        self._charset: Charset = None
        self._saved = _Saved()
        self._last = ""

    @property
    def alternate(self) -> bool:
        return self._main is not None

    @property
    def first(self) -> int:
        """Number of the screen's topmost row, counted from the first row ever (History)."""
        return self.history.end

    @property
    def cursor(self) -> tuple[int, int]:
        """(row, column), the column on the screen."""
        return self.y, min(self.x, self.columns - 1)

    def row(self, number: int) -> Row:
        """A row of history or screen by its number. Raises IndexError."""
        if number >= self.first:
            return self.lines[number - self.first].row()
        return self.history[number]

    # Writing

    def write(self, text: str) -> None:
        """Printable characters at the cursor."""
        if self._charset is not None:
            text = text.translate(self._charset)
        self._last = text
        end = self.x + len(text)
        if end <= self.columns and not self.insert_mode and text.isascii():
            # What most text is; all else takes the long way to the same end.
            self.lines[self.y].put(self.x, text, self.style)
            self.x = end
            return
        if is_narrow(text):
            self._write_cells(text)
            return
        start = 0
        while start < len(text) and not char_width(text[start]):
            self.lines[self.y].combine(self.x, text[start])
            start += 1
        self._write_cells(split_cells(text[start:]))

    def _write_cells(self, cells: Sequence[str]) -> None:
        columns = self.columns
        written, count = 0, len(cells)
        while written < count:
            if self.x >= columns:
                if self.autowrap:
                    self._wrap()
                else:
                    self.x = columns - 1
            x = self.x
            end = min(count, written + columns - x)
            if end < count and not cells[end]:  # not between the halves of a wide character
                end -= 1
            if end == written:
                if not self.autowrap:
                    return
                self.lines[self.y].erase(x, columns, self._blank())
                self._wrap()
                continue
            line = self.lines[self.y]
            if self.insert_mode:
                line.insert(x, end - written, columns, PLAIN)
            line.put(x, cells[written:end], self.style)
            self.x = x + end - written
            written = end
            if written < count and not self.autowrap:
                written = max(written, count - (1 if cells[-1] else 2))

    def _wrap(self) -> None:
        line = self.lines[self.y]
        line.crop(self.columns)
        line.set_wrapped(True)
        self.x = 0
        self.line_feed()

    def repeat(self, count: int) -> None:
        """REP: the last character again, at most a line of it."""
        if self._last:
            charset, self._charset = self._charset, None
            self.write(self._last[-1] * min(count, self.columns))
            self._charset = charset

    def fill(self, char: str) -> None:
        """DECALN."""
        self.top, self.bottom = 0, self.rows - 1
        row = Row((Run(char * self.columns, self.columns, PLAIN),))
        self.lines = [Line.from_row(row) for _ in range(self.rows)]
        self.move_to(0, 0)

    # Moving

    def carriage_return(self) -> None:
        self.x = 0

    def line_feed(self) -> None:
        if self.y == self.bottom:
            self.scroll_up(1)
        elif self.y < self.rows - 1:
            self.y += 1

    def next_line(self) -> None:
        self.x = 0
        self.line_feed()

    def reverse_line_feed(self) -> None:
        if self.y == self.top:
            self.scroll_down(1)
        elif self.y > 0:
            self.y -= 1

    def backspace(self) -> None:
        self.x = max(0, min(self.x, self.columns - 1) - 1)

    def up(self, count: int) -> None:
        stop = self.top if self.y >= self.top else 0
        self.y = max(stop, self.y - count)
        self._settle()

    def down(self, count: int) -> None:
        stop = self.bottom if self.y <= self.bottom else self.rows - 1
        self.y = min(stop, self.y + count)
        self._settle()

    def right(self, count: int) -> None:
        self.x = min(self.columns - 1, self.x + count)

    def left(self, count: int) -> None:
        self.x = max(0, min(self.x, self.columns - 1) - count)

    def down_to_start(self, count: int) -> None:
        self.x = 0
        self.down(count)

    def up_to_start(self, count: int) -> None:
        self.x = 0
        self.up(count)

    def to_column(self, x: int) -> None:
        self.x = min(max(0, x), self.columns - 1)

    def to_row(self, y: int) -> None:
        """From the top margin in origin mode."""
        low, high = (self.top, self.bottom) if self.origin else (0, self.rows - 1)
        self.y = min(max(0, y) + low, high)
        self._settle()

    def move_to(self, y: int, x: int) -> None:
        self.to_column(x)
        self.to_row(y)

    def set_margins(self, top: int, bottom: int) -> None:
        """DECSTBM; `bottom` inclusive. Margins that hold no two lines are refused."""
        bottom = min(bottom, self.rows - 1)
        if 0 <= top < bottom:
            self.top, self.bottom = top, bottom
            self.move_to(0, 0)

    def set_origin(self, on: bool) -> None:
        self.origin = on
        self.move_to(0, 0)

    def _settle(self) -> None:
        self.x = min(self.x, self.columns - 1)

    # Tabs

    def tab(self, count: int = 1) -> None:
        stops = sorted(stop for stop in self._tabs if stop > self.x)
        self.x = stops[count - 1] if count <= len(stops) else self.columns - 1

    def back_tab(self, count: int) -> None:
        stops = sorted((stop for stop in self._tabs if stop < self.x), reverse=True)
        self.x = stops[count - 1] if count <= len(stops) else 0

    def set_tab(self) -> None:
        self._tabs.add(min(self.x, self.columns - 1))

    def clear_tab(self) -> None:
        self._tabs.discard(min(self.x, self.columns - 1))

    def clear_tabs(self) -> None:
        self._tabs.clear()

    # Erasing and shifting

    def _blank(self) -> Style:
        """Erased cells take the background colour and nothing else of the style (bce)."""
        background = self.style.background
        return PLAIN if background == DEFAULT_COLOR else Style(background=background)

    def erase_line(self, part: int) -> None:
        """EL: 0 from the cursor on, 1 up to and with it, 2 all."""
        self._settle()
        start = self.x if part == 0 else 0
        end = self.x + 1 if part == 1 else self.columns
        if part <= 2:
            self.lines[self.y].erase(start, end, self._blank())
            if part != 1:
                self.lines[self.y].set_wrapped(False)

    def erase_display(self, part: int) -> None:
        """ED: 0 from the cursor on, 1 up to and with it, 2 all, 3 the history."""
        if part == 3:
            self.history.clear()
            return
        if part in {0, 1}:
            self.erase_line(part)
        start, end = {0: (self.y + 1, self.rows), 1: (0, self.y), 2: (0, self.rows)}.get(
            part, (0, 0)
        )
        blank = self._blank()
        self.lines[start:end] = [Line(self.columns, blank) for _ in range(end - start)]

    def erase_cells(self, count: int) -> None:
        """ECH."""
        self._settle()
        end = min(self.columns, self.x + count)
        self.lines[self.y].erase(self.x, end, self._blank())

    def insert_cells(self, count: int) -> None:
        """ICH."""
        self._settle()
        count = min(count, self.columns - self.x)
        self.lines[self.y].insert(self.x, count, self.columns, self._blank())

    def delete_cells(self, count: int) -> None:
        """DCH."""
        self._settle()
        count = min(count, self.columns - self.x)
        self.lines[self.y].delete(self.x, count, self.columns, self._blank())

    def insert_lines(self, count: int) -> None:
        """IL; nothing outside the margins."""
        if self.top <= self.y <= self.bottom:
            self._shift_down(self.y, count)
            self.x = 0

    def delete_lines(self, count: int) -> None:
        """DL; nothing outside the margins, and nothing goes to the history."""
        if self.top <= self.y <= self.bottom:
            self._shift_up(self.y, count)
            self.x = 0

    def scroll_up(self, count: int) -> None:
        """SU, or a line feed on the bottom margin: what leaves the top goes to the history."""
        if self.top == 0 and self._main is None:
            for line in self.lines[: min(count, self.bottom + 1)]:
                self.history.push(line.row())
        self._shift_up(self.top, count)

    def scroll_down(self, count: int) -> None:
        self._shift_down(self.top, count)

    def _shift_up(self, top: int, count: int) -> None:
        lines, bottom = self.lines, self.bottom + 1
        count = min(count, bottom - top)
        blank = self._blank()
        del lines[top : top + count]
        at = bottom - count
        lines[at:at] = [Line(self.columns, blank) for _ in range(count)]

    def _shift_down(self, top: int, count: int) -> None:
        lines, bottom = self.lines, self.bottom + 1
        count = min(count, bottom - top)
        blank = self._blank()
        del lines[bottom - count : bottom]
        lines[top:top] = [Line(self.columns, blank) for _ in range(count)]

    # Character sets, saving, the alternate screen

    def designate(self, slot: int, charset: Charset) -> None:
        first, second = self._charsets
        self._charsets = (first, charset) if slot else (charset, second)
        self.shift(self._shift)

    def shift(self, slot: int) -> None:
        """SO and SI."""
        self._shift = slot
        self._charset = self._charsets[slot]

    def save_cursor(self) -> None:
        self._saved = _Saved(self.x, self.y, self.style, self._charsets, self._shift, self.origin)

    def restore_cursor(self) -> None:
        saved = self._saved
        self.x, self.y = min(saved.x, self.columns), min(saved.y, self.rows - 1)
        self.style, self.origin = saved.style, saved.origin
        self._charsets = saved.charsets
        self.shift(saved.shift)

    def enter_alternate(self) -> None:
        """The cursor keeps its place; the screen is blank."""
        if self._main is None:
            self._main, self._main_saved = self.lines, self._saved
            self.lines = [Line(self.columns, self._blank()) for _ in range(self.rows)]

    def leave_alternate(self) -> None:
        if self._main is not None:
            self.lines, self._saved = self._main, self._main_saved
            self._main = None

    # Size

    def resize(self, rows: int, columns: int) -> None:
        """No reflow: programs repaint, and lines keep what lies beyond a nearer margin.

        The main screen gives rows to the history as it becomes lower and takes them back as
        it grows, so that the cursor stays with its line.
        """
        rows, columns = _fit(rows, columns)
        if (rows, columns) == (self.rows, self.columns):
            return
        self._tabs |= {stop for stop in range(0, columns, _TAB) if stop >= self.columns}
        self._tabs = {stop for stop in self._tabs if stop < columns}
        if self._main is None:
            self.y += self._fit_main(self.lines, rows, self.y)
        else:
            saved = self._main_saved
            moved = self._fit_main(self._main, rows, saved.y)
            self._main_saved = saved._replace(y=saved.y + moved)
            over = max(0, self.y - rows + 1)
            del self.lines[:over]
            self.y -= over
            self.lines[rows:] = [Line() for _ in range(rows - len(self.lines))]
            for line in self.lines:
                line.crop(columns)
        self.rows, self.columns = rows, columns
        self.top, self.bottom = 0, rows - 1
        self.x = min(self.x, columns - 1)
        self.y = min(max(0, self.y), rows - 1)

    def _fit_main(self, lines: list[Line], rows: int, y: int) -> int:
        """Make `lines` that many; how far the line of the cursor at `y` has moved down."""
        while len(lines) > rows and y < len(lines) - 1 and lines[-1].empty:
            lines.pop()
        over = max(0, min(len(lines) - rows, y))
        for line in lines[:over]:
            self.history.push(line.row())
        del lines[:over]
        del lines[rows:]
        moved = -over
        while len(lines) < rows and len(self.history):
            lines.insert(0, Line.from_row(self.history.pop()))
            moved += 1
        lines += [Line() for _ in range(rows - len(lines))]
        return moved


def _fit(rows: int, columns: int) -> tuple[int, int]:
    return (
        min(max(rows, MIN_ROWS), MAX_SIDE),
        min(max(columns, MIN_COLUMNS), MAX_SIDE),
    )
