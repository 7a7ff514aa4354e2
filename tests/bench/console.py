"""The console, as a terminal sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from tests.bench.figures import Figure
from tests.bench.programs import PROGRAM, environment
from vctui.settings import Settings

_PAINTED = b"mock-000"
"""The first pod's name: the panes have their content."""
_PATIENCE = 30.0


def first_paint(settings: Settings, runs: int) -> Figure:
    samples = [_first_paint(settings) for _ in range(runs + 1)][1:]
    return Figure(name="console, start to its pods on screen", samples=samples, unit="s", reach=0.6)


def _first_paint(settings: Settings) -> float:
    begin = time.perf_counter()
    pid, master = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM], {**environment(settings), "TERM": "xterm-256color"})
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = b""
    try:
        while _PAINTED not in seen:
            ready, _, _ = select.select([master], [], [], _PATIENCE)
            if not ready:
                raise TimeoutError(f"the console did not paint within {_PATIENCE:g} s")
            seen += os.read(master, 65536)
        return time.perf_counter() - begin
    finally:
        os.kill(pid, signal.SIGTERM)
        while True:  # a terminal that nobody reads would hold its end up
            try:
                if not os.read(master, 65536):
                    break
            except OSError:
                break
        os.waitpid(pid, 0)
        os.close(master)
