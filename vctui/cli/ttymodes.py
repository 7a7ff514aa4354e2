"""What a program has switched on in the operator's terminal and not switched off again.

Pure. After a detach from vi, or a crash of it, the shell should get back a terminal without
alternate screen, mouse reports and hidden cursor.
"""

from __future__ import annotations

import re
from typing import Final

_SWITCH: Final = re.compile(rb"\x1b\[\?([0-9;]{1,64})([hl])")
_TAIL: Final = 72
"""Bytes kept between two chunks: the longest sequence that _SWITCH finds, and a little."""

_ON_AT_FIRST: Final = {7: True, 25: True}
_MODES: Final = (1, 5, 7, 9, 25, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004)


class TtyModes:
    def __init__(self) -> None:
        self._state: dict[int, bool] = {}
        self._tail = b""
        self._written = False

    def watch(self, data: bytes) -> None:
        """Output on its way to the terminal."""
        if not data:
            return
        self._written = True
        text = self._tail + data
        end = 0
        for match in _SWITCH.finditer(text):
            for number in match[1].split(b";"):
                if number and int(number) in _MODES:
                    self._state[int(number)] = match[2] == b"h"
            end = match.end()
        self._tail = text[max(end, len(text) - _TAIL) :]

    def undo(self) -> bytes:
        """What puts the terminal back; nothing if no output was seen."""
        if not self._written:
            return b""
        switches = b"".join(
            b"\x1b[?%d%c" % (mode, b"l" if on else b"h")
            for mode, on in self._state.items()
            if on is not _ON_AT_FIRST.get(mode, False)
        )
        return b"\x1b[m" + switches
