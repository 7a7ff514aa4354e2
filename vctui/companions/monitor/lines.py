"""Foreign bytes → lines fit for an operator's eyes. Pure."""

from __future__ import annotations

import re
from typing import Final

MAX_LINE: Final = 8192
"""Bytes; what is longer is cut into several lines."""

_CONTROL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_LAST_WORDS: Final = 300


def clean(line: bytes) -> str:
    """Text without control characters or terminal sequences (tabs stay); bad UTF-8 replaced."""
    return _CONTROL.sub("", line.decode("utf-8", "replace"))


def last_line(tail: bytes, containing: bytes = b"") -> str:
    """The last line that is not blank and contains the given bytes; "" if there is none."""
    for line in reversed(tail.splitlines()):
        if containing in line and (text := clean(line).strip()):
            return text[:_LAST_WORDS]
    return ""


class LineSplitter:
    """Cuts a byte stream into lines of at most MAX_LINE bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their newlines."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        while len(self._rest) >= MAX_LINE:
            lines.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return lines

    def flush(self) -> list[bytes]:
        """What is left without a newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_LINE:
        return [line]
    return [line[start : start + MAX_LINE] for start in range(0, len(line), MAX_LINE)]
