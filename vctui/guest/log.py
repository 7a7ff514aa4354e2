"""The agent's log: one line for each message, to the host's log port.

A line begins with the seconds since the guest's kernel began, as the kernel's own log has them:
who reads the port knows what time it is.
Lines wait in a bounded queue while the host does not read; the oldest go first.
Without a port they go to the console.
"""

from __future__ import annotations

import os

from vctui.guest.loop import EDGE, WRITE
from vctui.guest.timeline import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from vctui.guest.loop import Loop
else:
    from _collections import deque

_MAX_WAITING = 256 * 1024
_MAX_LINE = 4096
_NAMES = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


class Log:
    def __init__(self, level: int = 20) -> None:
        self.level = level
        self._fd = -1
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0

    def open(self, loop: Loop, fd: int) -> None:
        """Write to `fd` (non-blocking) from now on, beginning with what waits."""
        self._fd = fd
        loop.watch(fd, WRITE | EDGE, lambda _events: self._flush())
        self._flush()

    def debug(self, text: str) -> None:
        self._write(10, text)

    def info(self, text: str) -> None:
        self._write(20, text)

    def warning(self, text: str) -> None:
        self._write(30, text)

    def error(self, text: str) -> None:
        self._write(40, text)

    def bug(self, where: str, error: BaseException) -> None:
        """An exception nobody expected, with its traceback."""
        import traceback

        self._write(40, f"{where}: " + "".join(traceback.format_exception(error)))

    def _write(self, level: int, text: str) -> None:
        if level < self.level:
            return
        stamp = str(now() // 1_000_000)
        head = f"{stamp[:-3]}.{stamp[-3:]} {_NAMES[level]} "
        for part in text.splitlines() or [""]:
            self._append((head + part).encode(errors="replace")[:_MAX_LINE] + b"\n")
        self._flush()

    def _append(self, line: bytes) -> None:
        self._waiting.append(line)
        self._size += len(line)
        while self._size > _MAX_WAITING:
            self._size -= len(self._waiting.popleft())
            self._lost += 1

    def _flush(self) -> None:
        if self._fd < 0:
            return
        if self._lost:
            self._waiting.appendleft(b"%d lines of the agent's log were lost\n" % self._lost)
            self._size += len(self._waiting[0])
            self._lost = 0
        try:
            while self._waiting:
                line = self._waiting[0]
                written = os.write(self._fd, line)
                self._size -= written
                if written < len(line):
                    self._waiting[0] = line[written:]
                else:
                    self._waiting.popleft()
        except OSError:
            return  # the host does not read; what waits stays
