"""The widget: paints a session's emulator and sends it keys, pastes and the mouse."""

from __future__ import annotations

import time
from typing import ClassVar, Final, NamedTuple

from rich.style import Style as RichStyle
from textual import events
from textual.geometry import Offset, Region, Size
from textual.markup import escape
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from vctui.tui.terminal import keys, paint
from vctui.tui.terminal.cells import Row
from vctui.tui.terminal.keys import Mouse, MouseAction
from vctui.tui.terminal.modes import CursorShape, MouseTracking
from vctui.tui.terminal.selection import Point, Selection, line_at, word_at
from vctui.tui.terminal.session import TerminalSession

_WHEEL_LINES: Final = 3
_BELL_SECONDS: Final = 1.0
_REVERSE: Final = RichStyle(reverse=True)
_UNDERLINE: Final = RichStyle(underline=True)


class _Look(NamedTuple):
    """All that a painted line depends on."""

    row: Row
    cursor: tuple[int, CursorShape, bool] | None
    """Column, shape, focused; None on the other lines."""
    marked: tuple[int, int] | None
    reversed: bool


class TerminalView(Widget, can_focus=True):
    """While focused and attached it takes every key; the session's detach keys leave it.

    Shift with PageUp, PageDown, Home and End, or the wheel, moves through the history; the
    mouse marks text, which is copied when the button is released. A program that asks for the
    mouse gets it. After the end of the session, keys go to the application again.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"terminal-view--selection"}
    DEFAULT_CSS = """
    TerminalView {
        width: 1fr;
        height: 1fr;
        background: $background;
        color: $foreground;
        pointer: text;

        & > .terminal-view--selection {
            background: $primary-muted;
            color: $text;
        }
    }
    """
    ALLOW_SELECT = False  # the view has its own, in rows that scroll

    class Closed(Message):
        """The session has ended or was left; its `state` and `status` tell more."""

        def __init__(self, view: TerminalView, session: TerminalSession) -> None:
            super().__init__()
            self.view = view
            self.session = session

        @property
        def control(self) -> TerminalView:
            return self.view

    def __init__(
        self,
        session: TerminalSession,
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's word
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.session = session
        self._top: int | None = None
        """The row shown first; None follows the screen."""
        self._looks: list[_Look] = []
        self._selection: Selection | None = None
        self._marking = False
        self._rung = 0
        self._next_bell = 0.0
        self._end_told = False

    @property
    def captures_keys(self) -> bool:
        return self.session.attached

    @property
    def scrolled_back(self) -> int:
        """Rows between what is shown and the screen; 0 while following it."""
        return 0 if self._top is None else self.session.emulator.screen.first - self._top

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """For the footer: while keys go to the process, no binding applies."""
        return self.captures_keys

    # Life

    def on_mount(self) -> None:
        self.session.on_change = self._update
        self.session.start()
        self._update()

    def on_unmount(self) -> None:
        if self.session.on_change == self._update:
            self.session.on_change = None

    def on_resize(self) -> None:
        size = self.content_size
        if size:
            self.session.resize(size.height, size.width)
        self._update()

    def on_focus(self) -> None:
        self._tell_focus(True)

    def on_blur(self) -> None:
        self._tell_focus(False)

    def _tell_focus(self, focused: bool) -> None:
        if self.captures_keys:
            self.session.send(keys.encode_focus(focused, self.session.emulator.modes))
        self._update()

    # Painting

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self.session.emulator.screen.columns

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.session.emulator.screen.rows

    def _update(self) -> None:
        """Repaint the lines that look different now."""
        emulator = self.session.emulator
        if self._top is not None and (
            emulator.screen.alternate or self._top >= emulator.screen.first
        ):
            self._top = None
        elif self._top is not None:
            self._top = max(self._top, emulator.screen.history.start)
        looks = [self._look(y) for y in range(self.content_size.height)]
        if len(looks) != len(self._looks):
            self.refresh()
        else:
            width = self.content_size.width
            changed = [
                Region(0, y, width, 1)
                for y, (new, old) in enumerate(zip(looks, self._looks, strict=True))
                if new != old
            ]
            if changed:
                self.refresh(*changed)
        self._looks = looks
        self._show_state()
        self._ring()

    def _look(self, y: int) -> _Look:
        screen = self.session.emulator.screen
        first = screen.first if self._top is None else self._top
        number = first + y
        try:
            row = screen.row(number)
        except IndexError:
            row = Row(())
        cursor = None
        cursor_row, cursor_column = screen.cursor
        modes = self.session.emulator.modes
        if modes.cursor_visible and self.session.attached and number == screen.first + cursor_row:
            cursor = (cursor_column, modes.cursor_shape, self.has_focus)
        marked = self._selection.columns(number, screen.columns) if self._selection else None
        return _Look(row, cursor, marked, modes.reverse_video)

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        look = self._look(y)
        base = self.rich_style + _REVERSE if look.reversed else self.rich_style
        strip = paint.strip(look.row.runs, base).crop_extend(0, width, base)
        if look.marked:
            style = self.get_component_rich_style("terminal-view--selection")
            strip = paint.restyle(strip, *look.marked, style)
        if look.cursor:
            column, shape, focused = look.cursor
            # A cell can hold no bar, and the cursor of an unfocused terminal stays modest.
            block = focused and shape is CursorShape.BLOCK
            strip = paint.restyle(strip, column, column + 1, _REVERSE if block else _UNDERLINE)
        return strip

    def _show_state(self) -> None:
        session = self.session
        title, subtitle = session.title, session.status
        if self.scrolled_back:
            subtitle = f"{self.scrolled_back} lines back"
        elif self.captures_keys and session.detach_keys:
            subtitle += f" · {session.detach_keys.replace(',', ' ')} detaches"
        self.border_title, self.border_subtitle = escape(title), escape(subtitle)
        if self.has_focus and session.attached:
            row, column = session.emulator.screen.cursor
            self.app.cursor_position = self.content_region.offset + Offset(column, row)
        if not session.attached and not self._end_told:
            self._end_told = True
            self.post_message(self.Closed(self, session))
            self.refresh_bindings()

    def _ring(self) -> None:
        bells = self.session.emulator.bells
        now = time.monotonic()
        if bells != self._rung and now >= self._next_bell:
            self._next_bell = now + _BELL_SECONDS
            self.app.bell()
        self._rung = bells

    # Keys

    async def on_key(self, event: events.Key) -> None:
        if self._scroll_key(event.key):
            event.stop()
            event.prevent_default()
            return
        if not self.captures_keys:
            return
        event.stop()
        event.prevent_default()
        data = keys.encode_key(event.key, event.character, self.session.emulator.modes)
        if data:
            self._follow()
            self.session.type(data)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if not self.captures_keys:
            return
        self._follow()
        data = keys.encode_paste(event.text, self.session.emulator.modes)
        if not self.session.send(data):
            self.notify("The program does not read; nothing was pasted.", severity="warning")

    # Moving through the history

    def _scroll_key(self, key: str) -> bool:
        page = max(1, self.content_size.height - 1)
        everything = len(self.session.emulator.screen.history)
        moves = {
            "shift+pageup": -page,
            "shift+pagedown": page,
            "shift+home": -everything,
            "shift+end": everything,
        }
        if key not in moves or self.session.emulator.screen.alternate:
            return False
        self._scroll(moves[key])
        return True

    def _scroll(self, lines: int) -> None:
        screen = self.session.emulator.screen
        top = screen.first if self._top is None else self._top
        self._top = max(screen.history.start, top + lines)
        self._update()

    def _follow(self) -> None:
        if self._top is not None or self._selection is not None:
            self._top = self._selection = None
            self._update()

    # The mouse

    def _report(self, event: events.MouseEvent, action: MouseAction) -> bool:
        """Whether the program wants mouse events; if so it got this one."""
        modes = self.session.emulator.modes
        if modes.mouse is MouseTracking.OFF or not self.captures_keys or self.scrolled_back:
            return False
        offset = event.get_content_offset_capture(self)
        size = self.content_size
        mouse = Mouse(
            action=action,
            row=min(max(0, offset.y), size.height - 1),
            column=min(max(0, offset.x), size.width - 1),
            button=event.button,
            shift=event.shift,
            alt=event.meta,
            control=event.ctrl,
        )
        self.session.send(keys.encode_mouse(mouse, modes))
        return True

    def _point(self, event: events.MouseEvent) -> Point:
        offset = event.get_content_offset_capture(self)
        screen = self.session.emulator.screen
        top = screen.first if self._top is None else self._top
        row = min(max(0, offset.y), max(0, self.content_size.height - 1))
        return Point(top + row, max(0, offset.x))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        event.stop()
        self.focus()
        self.capture_mouse()
        if self._report(event, MouseAction.PRESS) or event.button != 1:
            return
        self._selection, self._marking = None, True
        self._anchor = self._point(event)
        self._update()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._marking:
            event.stop()
            head = self._point(event)
            if self._selection is not None or head != self._anchor:
                self._selection = Selection(self._anchor, head)
                self._update()
        elif self._report(event, MouseAction.MOVE):
            event.stop()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        event.stop()
        self.release_mouse()
        if self._marking:
            self._marking = False
            self._copy()
        else:
            self._report(event, MouseAction.RELEASE)

    def on_click(self, event: events.Click) -> None:
        """Twice marks the word, three times the line."""
        event.stop()
        event.prevent_default()
        mouse_is_taken = self.session.emulator.modes.mouse is not MouseTracking.OFF
        if event.chain < 2 or (mouse_is_taken and self.captures_keys):
            return
        point = self._point(event)
        try:
            row = self.session.emulator.row(point.row)
        except IndexError:
            return
        if event.chain == 2:
            self._selection = word_at(row, point.row, point.column)
        else:
            self._selection = line_at(row, point.row)
        self._update()
        self._copy()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, MouseAction.WHEEL_UP)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, MouseAction.WHEEL_DOWN)

    def _wheel(self, event: events.MouseEvent, action: MouseAction) -> None:
        event.stop()
        event.prevent_default()
        emulator = self.session.emulator
        up = action is MouseAction.WHEEL_UP
        if self._report(event, action):
            return
        if emulator.screen.alternate:
            if emulator.modes.alternate_scroll and self.captures_keys:
                self.session.send(keys.encode_wheel_as_keys(up, emulator.modes))
            return
        self._scroll(-_WHEEL_LINES if up else _WHEEL_LINES)

    def _copy(self) -> None:
        if self._selection is not None:
            text = self._selection.text(self.session.emulator.row)
            if text:
                self.app.copy_to_clipboard(text)
