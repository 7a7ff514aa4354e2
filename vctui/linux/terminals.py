"""Terminals of the host that somebody else has opened: their modes and sizes (termios(3))."""

from __future__ import annotations

import os
import termios
import tty

Modes = list[int | list[bytes | int]]
"""What tcgetattr(3) tells."""


def open_terminal(path: str) -> int:
    """A descriptor for reading and writing that does not wait.

    The terminal does not become our controlling one.

    Raises:
        OSError: ENOTTY for what is no terminal.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.ttyname(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_pair() -> tuple[int, int]:
    """A new terminal: the end of whoever looks at it, and that of a program."""
    return os.openpty()


def make_raw(fd: int) -> Modes:
    """Let every byte through in both directions; the modes that were set before."""
    before: Modes = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)
    return before


def restore(fd: int, modes: Modes) -> None:
    """Set modes again. A terminal that is gone stays so."""
    try:
        termios.tcsetattr(fd, termios.TCSANOW, modes)
    except termios.error:
        return


def size(fd: int) -> tuple[int, int]:
    """Rows and columns; zeros where the terminal has no size, or is gone."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return found.lines, found.columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Of either end."""
    termios.tcsetwinsize(fd, (rows, columns))
