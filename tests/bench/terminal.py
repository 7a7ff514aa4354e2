"""The console as somebody at a terminal has it: keys in, a screen out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.bench.host import PROGRAM, ROOT, Bench
from vctui.tui.terminal.emulator import Emulator

ROWS: Final = 40
COLUMNS: Final = 120
_PATIENCE: Final = 60.0
_POD: Final = re.compile(r"^│ (mock-\d+) ")


class Terminal:
    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self._master = master
        self._emulator = Emulator(ROWS, COLUMNS, history=0)

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def resize(self, rows: int, columns: int) -> None:
        """Make its window another size."""
        self._emulator.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, condition: Callable[[], object], what: str) -> float:
        """Read until `condition` holds; when it came true (time.perf_counter).

        Raises:
            TimeoutError: it does not.
        """
        deadline = time.perf_counter() + _PATIENCE
        while not condition():
            self.read(deadline - time.perf_counter(), what)
        return time.perf_counter()

    def read(self, patience: float, what: str) -> None:
        ready, _, _ = select.select([self._master], [], [], max(patience, 0))
        if not ready:
            raise TimeoutError(f"the console: no {what} within {_PATIENCE:g} s\n{self.text}")
        if answer := self._emulator.feed(os.read(self._master, 65536)):
            os.write(self._master, answer)

    def idle(self, seconds: float) -> None:
        """Take what comes for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            with contextlib.suppress(TimeoutError):
                self.read(left, "output")

    @property
    def lines(self) -> list[str]:
        screen = self._emulator.screen
        rows = (self._emulator.row(screen.first + number) for number in range(screen.rows))
        return ["".join(run.text for run in row.runs) for row in rows]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def selected(self) -> str:
        """The pod under the cursor: the one in a row of another colour; "" where none is."""
        backgrounds: dict[str, int] = {}
        screen = self._emulator.screen
        for number in range(screen.rows):
            row = self._emulator.row(screen.first + number)
            if found := _POD.match("".join(run.text for run in row.runs)):
                run = next(run for run in row.runs if found[1][:4] in run.text)
                backgrounds[found[1]] = run.style.background
        usual = Counter(backgrounds.values()).most_common(1)
        others = [pod for pod, colour in backgrounds.items() if colour != usual[0][0]]
        return others[0] if len(others) == 1 else ""


@contextlib.contextmanager
def opened(bench: Bench, meter: Path | None = None) -> Iterator[Terminal]:
    """With `meter` its event loop is measured; the file is there afterwards."""
    command = [PROGRAM]
    if meter is not None:
        command = [sys.executable, "-m", "tests.bench.metered", str(meter)]
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(command[0], command, bench.environment)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        yield Terminal(pid, master)
    finally:
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(OSError):  # a terminal that nobody reads would hold its end up
            while os.read(master, 65536):
                pass
        os.waitpid(pid, 0)
        os.close(master)
