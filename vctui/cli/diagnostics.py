"""Everything on standard error, and the exit statuses."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Final, Protocol

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
BY_SIGNAL: Final = 128
"""Added to the number of the signal that ended the program, as a shell tells it."""

MAX_SENTENCE: Final = 4096
"""Characters of an error."""


class Ended(Exception):
    """The command is over and this is its exit status; everything was said."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Interrupted(BaseException):
    """A signal ended the operation."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Show(Protocol):
    """Told the phase of a long operation, and how far it has come in it."""

    def __call__(self, phase: str, part: str = "") -> None: ...


class Diagnostics:
    """Notes, progress and errors. A standard error that is gone is no error."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.changing = False
        """A long change is under way, which a signal would have undone."""
        self._line_open = False

    def note(self, sentence: str) -> None:
        self._write(f"{sentence}\n")

    def error(self, sentence: str) -> None:
        """Say what went wrong. It may quote a guest, so it is made safe for a terminal."""
        self._write(f"error: {_safe(sentence)}\n")

    def warning(self, sentence: str) -> None:
        """Say what has no effect; made safe in the same way."""
        self._write(f"warning: {_safe(sentence)}\n")

    def detail(self, sentence: str) -> None:
        """More about an error; made safe in the same way."""
        self._write(f"  {_safe(sentence)}\n")

    @contextlib.contextmanager
    def progress(self, *, lines: bool = False) -> Iterator[Show]:
        """Yield a function that is told the phase, and how far it is.

        On a terminal one line is rewritten and taken away at the end; elsewhere each phase
        is a line where `lines` is set or the operator asked for more words.
        """
        terminal = _is_terminal()
        last = ""
        self.changing = True

        def show(phase: str, part: str = "") -> None:
            nonlocal last
            if terminal:
                self._write(f"\r\x1b[2K\x1b[2m{_clip(phase)}… {part}\x1b[0m", keep_line=True)
            elif phase != last and (lines or self.verbosity):
                self._write(f"{phase}\n")
            last = phase

        try:
            yield show
        finally:
            self._clear()
            self.changing = False

    def _clear(self) -> None:
        if self._line_open:
            self._write("\r\x1b[2K")

    def _write(self, text: str, *, keep_line: bool = False) -> None:
        if self._line_open and not text.startswith("\r"):
            text = f"\r\x1b[2K{text}"
        self._line_open = keep_line
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _safe(sentence: str) -> str:
    from vctui.present.humanize import plain

    return plain(sentence, MAX_SENTENCE)


def _is_terminal() -> bool:
    with contextlib.suppress(OSError, ValueError):
        return sys.stderr.isatty()
    return False


def _clip(phase: str) -> str:
    import shutil

    return phase[: max(shutil.get_terminal_size().columns - 12, 10)]
