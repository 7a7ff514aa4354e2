"""A terminal: bytes in, rows out. Speaks `xterm-256color`, and `linux` as far as programs do.

Pure, never raises whatever the bytes, and bounded in memory. Sources: ECMA-48, DEC STD 070,
xterm's ctlseqs. The guest is hostile, so the terminal tells it nothing but its kind, its
cursor's place and the modes the guest itself has set: titles, clipboard, palette, answerback
and window requests are dropped.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from vctui.tui.terminal import charsets, modes
from vctui.tui.terminal.cells import Row
from vctui.tui.terminal.history import MAX_ROWS, History
from vctui.tui.terminal.modes import Modes, MouseTracking
from vctui.tui.terminal.parser import Parser
from vctui.tui.terminal.screen import Screen
from vctui.tui.terminal.sgr import Graphics

_MAX_ANSWERS: Final = 4096
"""Bytes of answers per feed; a guest that asks more often than it reads loses the rest."""

_MAX_NUMBER: Final = 9999

_PRIMARY_ATTRIBUTES: Final = b"\x1b[?62;22c"
"""VT220 with colour."""
_SECONDARY_ATTRIBUTES: Final = b"\x1b[>1;277;0c"
"""277 is the first xterm with SGR mouse reports; vim asks for them from there on."""

_Args = tuple[int, ...]

_COUNTED: Final[Mapping[str, Callable[[Screen, int], None]]] = {
    "@": Screen.insert_cells,
    "A": Screen.up,
    "B": Screen.down,
    "C": Screen.right,
    "D": Screen.left,
    "E": Screen.down_to_start,
    "F": Screen.up_to_start,
    "I": Screen.tab,
    "L": Screen.insert_lines,
    "M": Screen.delete_lines,
    "P": Screen.delete_cells,
    "S": Screen.scroll_up,
    "T": Screen.scroll_down,
    "X": Screen.erase_cells,
    "Z": Screen.back_tab,
    "a": Screen.right,
    "b": Screen.repeat,
    "e": Screen.down,
    "k": Screen.up,
    "j": Screen.left,
}
"""CSI functions of one count, of which 0 and nothing mean 1."""


class Emulator:
    """Feed it output, read rows, cursor and modes, send what `feed` answers."""

    def __init__(self, rows: int = 24, columns: int = 80, *, history: int = MAX_ROWS) -> None:
        self.screen = Screen(rows, columns, History(history))
        self.modes = Modes()
        self.bells = 0
        """How often the program has rung."""
        self._graphics = Graphics()
        self._answers = bytearray()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._parser = Parser(
            self.screen.write, self._control, self._style, self._csi, self._escape
        )
        screen = self.screen
        self._controls: Mapping[str, Callable[[], None]] = {
            "\r\n": screen.next_line,
            "\n": self._line_feed,
            "\r": screen.carriage_return,
            "\b": screen.backspace,
            "\t": screen.tab,
            "\v": self._line_feed,
            "\f": self._line_feed,
            "\a": self._bell,
            "\x0e": lambda: screen.shift(1),
            "\x0f": lambda: screen.shift(0),
        }
        self._escapes: Mapping[str, Callable[[], None]] = {
            "7": screen.save_cursor,
            "8": screen.restore_cursor,
            "=": lambda: self._set_keypad(True),
            ">": lambda: self._set_keypad(False),
            "D": screen.line_feed,
            "E": screen.next_line,
            "H": screen.set_tab,
            "M": screen.reverse_line_feed,
            "Z": lambda: self._answer(_PRIMARY_ATTRIBUTES),
            "c": self.reset,
            "#8": lambda: screen.fill("E"),
        }
        self._functions: Mapping[str, Callable[[_Args], None]] = {
            "G": lambda args: screen.to_column(_count(args) - 1),
            "`": lambda args: screen.to_column(_count(args) - 1),
            "d": lambda args: screen.to_row(_count(args) - 1),
            "H": lambda args: screen.move_to(_count(args) - 1, _count(args, 1) - 1),
            "f": lambda args: screen.move_to(_count(args) - 1, _count(args, 1) - 1),
            "J": lambda args: screen.erase_display(args[0]),
            "?J": lambda args: screen.erase_display(args[0]),
            "K": lambda args: screen.erase_line(args[0]),
            "?K": lambda args: screen.erase_line(args[0]),
            "g": self._clear_tabs,
            "r": self._set_margins,
            "s": lambda _: screen.save_cursor(),
            "u": lambda _: screen.restore_cursor(),
            "h": lambda args: self._set_modes(args, True),
            "l": lambda args: self._set_modes(args, False),
            "?h": lambda args: self._set_private_modes(args, True),
            "?l": lambda args: self._set_private_modes(args, False),
            "?$p": self._report_mode,
            "n": self._report_status,
            "?n": self._report_private_status,
            "c": lambda args: self._answer(b"" if args[0] else _PRIMARY_ATTRIBUTES),
            ">c": lambda args: self._answer(b"" if args[0] else _SECONDARY_ATTRIBUTES),
            "!p": lambda _: self._soft_reset(),
            " q": self._set_cursor_shape,
        }

    def feed(self, data: bytes) -> bytes:
        """Take output of the program; what the terminal answers to it."""
        self._parser.feed(self._decode(data))
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    def row(self, number: int) -> Row:
        """By number since the first row ever; the screen begins at `screen.first`.
        Raises IndexError."""
        return self.screen.row(number)

    def resize(self, rows: int, columns: int) -> None:
        self.screen.resize(rows, columns)

    def reset(self) -> None:
        """RIS: as new, but for the history."""
        self.screen.reset()
        self.modes = Modes()

    # What the parser calls

    def _control(self, char: str) -> None:
        function = self._controls.get(char)
        if function is not None:
            function()

    def _escape(self, intermediates: str, final: str) -> None:
        if intermediates in {"(", ")"}:
            charset = charsets.BY_FINAL.get(final)
            self.screen.designate(0 if intermediates == "(" else 1, charset)
            return
        function = self._escapes.get(intermediates + final)
        if function is not None:
            function()

    def _style(self, parameters: str) -> None:
        self.screen.style = self._graphics.apply(self.screen.style, parameters)

    def _csi(self, prefix: str, parameters: str, intermediates: str, final: str) -> None:
        key = prefix + intermediates + final
        if key in _COUNTED:
            _COUNTED[key](self.screen, _count(_numbers(parameters)))
        elif key in self._functions:
            self._functions[key](_numbers(parameters))

    # Functions

    def _line_feed(self) -> None:
        if self.modes.newline:
            self.screen.next_line()
        else:
            self.screen.line_feed()

    def _bell(self) -> None:
        self.bells += 1

    def _set_keypad(self, on: bool) -> None:
        self.modes.application_keypad = on

    def _soft_reset(self) -> None:
        self.screen.soft_reset()
        self.modes.application_cursor = self.modes.application_keypad = False
        self.modes.cursor_visible = True

    def _clear_tabs(self, args: _Args) -> None:
        if args[0] == 0:
            self.screen.clear_tab()
        elif args[0] == 3:
            self.screen.clear_tabs()

    def _set_margins(self, args: _Args) -> None:
        bottom = _count(args, 1, default=self.screen.rows)
        self.screen.set_margins(_count(args) - 1, bottom - 1)

    def _set_cursor_shape(self, args: _Args) -> None:
        shape = modes.CURSOR_SHAPES.get(args[0])
        if shape is not None:
            self.modes.cursor_shape = shape

    def _set_modes(self, args: _Args, on: bool) -> None:
        for number in args:
            if number == 4:
                self.screen.insert_mode = on
            elif number == 20:
                self.modes.newline = on

    def _set_private_modes(self, args: _Args, on: bool) -> None:
        screen = self.screen
        for number in args:
            if number in modes.FLAGS:
                setattr(self.modes, modes.FLAGS[number], on)
            elif number in modes.TRACKING:
                self.modes.mouse = MouseTracking(number) if on else MouseTracking.OFF
            elif number == 6:
                screen.set_origin(on)
            elif number == 7:
                screen.autowrap = on
            elif number in {47, 1047, 1049}:
                self._set_alternate(on, with_cursor=number == 1049)
            elif number == 1048:
                (screen.save_cursor if on else screen.restore_cursor)()

    def _set_alternate(self, on: bool, *, with_cursor: bool) -> None:
        screen = self.screen
        if on == screen.alternate:
            return
        if on:
            if with_cursor:
                screen.save_cursor()
            screen.enter_alternate()
        else:
            screen.leave_alternate()
            if with_cursor:
                screen.restore_cursor()

    # Answers

    def _answer(self, data: bytes) -> None:
        if len(self._answers) + len(data) <= _MAX_ANSWERS:
            self._answers += data

    def _report_status(self, args: _Args) -> None:
        if args[0] == 5:
            self._answer(b"\x1b[0n")
        elif args[0] == 6:
            self._answer(b"\x1b[%d;%dR" % self._reported_cursor())

    def _report_private_status(self, args: _Args) -> None:
        if args[0] == 6:
            self._answer(b"\x1b[?%d;%dR" % self._reported_cursor())

    def _reported_cursor(self) -> tuple[int, int]:
        row, column = self.screen.cursor
        if self.screen.origin:
            row -= self.screen.top
        return row + 1, column + 1

    def _report_mode(self, args: _Args) -> None:
        """DECRPM: 1 set, 2 reset, 0 not known here."""
        number, screen = args[0], self.screen
        known: dict[int, bool] = {
            6: screen.origin,
            7: screen.autowrap,
            1049: screen.alternate,
            **{mode: self.modes.mouse == mode for mode in modes.TRACKING},
            **{mode: getattr(self.modes, flag) for mode, flag in modes.FLAGS.items()},
        }
        state = 0 if number not in known else 1 if known[number] else 2
        self._answer(b"\x1b[?%d;%d$y" % (number, state))


@lru_cache(maxsize=1024)
def _numbers(parameters: str) -> _Args:
    """At least one number, each at most _MAX_NUMBER; sub-parameters are left out."""
    fields = (field.partition(":")[0] for field in parameters.split(";"))
    return tuple(min(int(field or 0), _MAX_NUMBER) for field in fields)


def _count(args: _Args, index: int = 0, *, default: int = 1) -> int:
    return (args[index] if index < len(args) else 0) or default
