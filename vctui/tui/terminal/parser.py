"""Split a terminal's output into text, controls and sequences (ECMA-48, Williams' VT500 parser).

Pure. One regular expression finds runs of text and whole sequences; only what is cut by the
end of a chunk or malformed goes through the state machine, one character at a time. Strings
(OSC, DCS, APC, PM, SOS) are swallowed: nothing that they can ask of a terminal is wanted from
a guest (titles, clipboard, palette, images). C1 controls are not honoured in their 8-bit form:
decoded as UTF-8 they are far more often garbage than meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

_MAX_PARAMETERS: Final = 128
_MAX_COMMAND: Final = 65_536
_MAX_STRING: Final = 4 * 1024 * 1024
"""Characters of an OSC, of any other string (which may carry an image); then it is over."""

_TOKEN: Final = re.compile(
    r"([^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[([0-9:;]{0,128})m"
    r"|(\r\n|[\x00-\x1a\x1c-\x1f\x7f-\x9f])"
    r"|\x1b\[([<-?]?)([0-9:;]{0,128})([ -/]{0,2})([@-~])"
    r"|\x1b([ -/]{0,2})([0-OQ-WYZ\\`-~])"
    r"|(\x1b)"
)
_TEXT, _STYLE, _CONTROL, _CSI, _ESCAPE = 1, 2, 3, 7, 9
"""The last group that each alternative closes."""

_COMMAND_STOP: Final = re.compile(r"[\x07\x18\x1a\x1b]")
_STRING_STOP: Final = re.compile(r"[\x18\x1a\x1b]")
_CANCEL: Final = "\x18\x1a"


class _State(Enum):
    GROUND = auto()
    ESCAPE = auto()
    CSI = auto()
    COMMAND = auto()  # the first character of an OSC
    STRING = auto()


class Parser:
    """Calls its four functions in the order of what it reads.

    text(characters): printable, not empty.
    control(character): one C0 or C1 control or DEL; "\\r\\n" counts as one.
    style(parameters): SGR, by far the most frequent CSI.
    csi(prefix, parameters, intermediates, final): any other; prefix is "" or one of `<=>?`.
    escape(intermediates, final).
    """

    def __init__(
        self,
        text: Callable[[str], object],
        control: Callable[[str], object],
        style: Callable[[str], object],
        csi: Callable[[str, str, str, str], object],
        escape: Callable[[str, str], object],
    ) -> None:
        self._text = text
        self._control = control
        self._style = style
        self._csi = csi
        self._escape = escape
        self._state = _State.GROUND
        self._collected = ""
        self._stop = _STRING_STOP
        self._room = 0

    def feed(self, data: str) -> None:
        text, control, style = self._text, self._control, self._style
        position, end = 0, len(data)
        while position < end:
            if self._state is not _State.GROUND:
                position = self._step(data, position)
                continue
            for match in _TOKEN.finditer(data, position):
                kind = match.lastindex
                if kind == _TEXT:
                    text(match[1])
                elif kind == _STYLE:
                    style(match[2])
                elif kind == _CONTROL:
                    control(match[3])
                elif kind == _CSI:
                    self._csi(match[4], match[5], match[6], match[7])
                elif kind == _ESCAPE:
                    self._escape(match[8], match[9])
                else:
                    self._begin_escape()
                    position = match.end()
                    break
            else:
                return

    def _begin_escape(self) -> None:
        self._state = _State.ESCAPE
        self._collected = ""

    def _step(self, data: str, position: int) -> int:
        """One character of what is not whole (a stretch of a string); the position after it."""
        if self._state is _State.STRING:
            return self._skip_string(data, position)
        char = data[position]
        if char == "\x1b":
            self._begin_escape()
        elif char in _CANCEL:
            self._state = _State.GROUND
        elif char < " ":
            self._control(char)
        elif char > "~":
            self._state = _State.GROUND
        elif self._state is _State.ESCAPE:
            self._step_escape(char)
        elif self._state is _State.COMMAND:
            return position + self._begin_command(char)
        else:
            self._step_csi(char)
        return position + 1

    def _step_escape(self, char: str) -> None:
        if char < "0":
            self._collected = (self._collected + char)[:3]
        elif self._collected:
            self._state = _State.GROUND
            if len(self._collected) <= 2:
                self._escape(self._collected, char)
        elif char == "[":
            self._state = _State.CSI
        elif char == "]":
            self._state = _State.COMMAND
        elif char in "P_^X":
            self._state = _State.STRING
            self._stop, self._room = _STRING_STOP, _MAX_STRING
        else:
            self._state = _State.GROUND
            self._escape("", char)

    def _step_csi(self, char: str) -> None:
        if char < "@":
            if len(self._collected) <= _MAX_PARAMETERS + 3:
                self._collected += char
            return
        self._state = _State.GROUND
        sequence = f"\x1b[{self._collected}{char}"
        if _TOKEN.fullmatch(sequence):  # otherwise it is malformed or too long
            self.feed(sequence)

    def _begin_command(self, char: str) -> int:
        """How many characters were read. Linux consoles have two OSC without a terminator:
        R resets the palette, P sets a colour by seven digits."""
        self._state = _State.GROUND if char == "R" else _State.STRING
        self._stop, self._room = _COMMAND_STOP, 7 if char == "P" else _MAX_COMMAND
        return char in "RP"

    def _skip_string(self, data: str, position: int) -> int:
        end = min(len(data), position + self._room)
        stop = self._stop.search(data, position, end)
        if stop is None:
            self._room -= end - position
            if not self._room:
                self._state = _State.GROUND
            return end
        if stop[0] == "\x1b":
            self._begin_escape()  # the backslash of ST, or a sequence of its own
        else:
            self._state = _State.GROUND
        return stop.end()
