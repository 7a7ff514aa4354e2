"""The agent's log: from its port, or from the console where the agent logs there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vctui.companions.monitor.capture import Capture
from vctui.companions.monitor.lines import LineSplitter, clean
from vctui.companions.monitor.logfile import LogFile
from vctui.wire import crilog

_TEXT: Final = re.compile(rb'time="[0-9TZ:.+-]+" level=[a-z]+ msg=')
_TEXT_MARKS: Final = (b" name=kata-agent ", b" source=agent")
_JSON_MARKS: Final = tuple(
    b'"%s":%s"%s"' % (key, space, name)
    for key in (b"name", b"source")
    for space in (b"", b" ")
    for name in (b"kata-agent", b"cc-agent", b"agent")
)
_BANNER: Final = b"announce: "
_KERNEL: Final = re.compile(rb"<\d+>|\[ *\d+\.\d{6}\]")


def is_entry(line: bytes) -> bool:
    """Whether a line of the console is an entry of an agent's log: logrus's text from Kata 1.x,
    JSON from later ones and from cc-agent (gRPC sheet §9.3, ttrpc sheet §8.1, hyperstart sheet §7).
    """
    line = line.strip()
    if line.startswith(b"{") and line.endswith(b"}"):
        return any(mark in line for mark in _JSON_MARKS)
    if _TEXT.match(line):
        return any(mark in line + b" " for mark in _TEXT_MARKS)
    return line.startswith(_BANNER)


def is_plain(line: bytes) -> bool:
    """Whether a line of the console may be hyperstart's, which writes there as the kernel does, but
    without the time (hyperstart sheet §7)."""
    return bool(line.strip()) and not _KERNEL.match(line)


class AgentLog:
    """Lines of bounded length, each with the time of its arrival.

    Our own agent has a port for its log. Others write to the console; what is theirs there is
    taken as long as nothing has come by the port.

    Args:
        logs_plainly: whether the agent is known, by now, to be hyperstart.
    """

    def __init__(self, path: Path, log: LogFile, logs_plainly: Callable[[], bool]) -> None:
        self.capture = Capture(path, self._take)
        self._log = log
        self._lines = LineSplitter()
        self._console = LineSplitter()
        self._has_port = False
        self._logs_plainly = logs_plainly

    def console_says(self, data: bytes) -> None:
        if not self._has_port:
            is_its = is_plain if self._logs_plainly() else is_entry
            self._write([line for line in self._console.feed(data) if is_its(line)])

    def close(self) -> None:
        self._write(self._lines.flush())
        self._log.close()

    def _take(self, data: bytes) -> None:
        self._has_port = True
        self._write(self._lines.feed(data))

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            head = crilog.timestamp(time.time_ns()) + b" "
            self._log.write(b"".join(head + clean(line).encode() + b"\n" for line in lines))
