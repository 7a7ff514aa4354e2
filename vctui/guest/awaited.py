"""A file that a program waits for: it has opened it, and what is in it is written later.

So the program has loaded itself before it is known what it is to do.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vctui.guest.loop import Future

MOST = 64 * 1024
"""Bytes that a pipe takes at once (pipe(7))."""


class Awaited:
    """
    Raises:
        OSError: it cannot be made, or is there.
    """

    def __init__(self, path: str) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        # open for both, it neither waits for the program nor ends before we close it
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def opened(self, proc: str, pid: int, ended: Future) -> bool:
        """Whether the program has come to where it waits, or to its end."""
        folder = f"{proc}/{pid}/fd"
        try:
            fds = os.listdir(folder)
            return ended.done or any(os.readlink(f"{folder}/{fd}") == self.path for fd in fds)
        except FileNotFoundError:
            return ended.done

    def write(self, content: bytes) -> None:
        """All of it, once. Raises OSError."""
        try:
            os.write(self._fd, content)
        finally:
            os.close(self._fd)
