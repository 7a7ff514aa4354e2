"""Textual's driver for a terminal that may go away at any moment."""

from __future__ import annotations

import sys
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver


class Lasting:
    """A terminal's file; once it is gone, what is written to it is dropped.

    Textual's thread that writes would end with the error, and the console would wait for ever for
    room in the queue that nobody empties any more.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._gone = False

    def write(self, text: str) -> None:
        if not self._gone:
            try:
                self._file.write(text)
            except OSError:
                self._gone = True

    def flush(self) -> None:
        if not self._gone:
            try:
                self._file.flush()
            except OSError:
                self._gone = True

    def fileno(self) -> int:
        return self._file.fileno()


class TerminalDriver(LinuxDriver):
    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        file = self._file
        if not (file and file.isatty()):  # `vctui 2>file`
            file = sys.__stdout__
        if file is not None:
            self._file = Lasting(file)  # type: ignore[assignment]
