"""What every suite measures with: folders of its own, processes and their processor time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from vctui.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = str(Path(sys.executable).with_name("vctui"))
YARDSTICK: Final = (sys.executable, "-c", "import asyncio, json, sqlite3")
"""What commands are compared with: an interpreter that has imported what any of them needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how often to measure."""

    settings: Settings
    runs: int
    pods: int = 100
    """Mock pods for `pod list`."""
    crowd: int = 1000
    """Mock pods in a console under load."""
    between: float = 0.2
    """Seconds between two keys into a console, where they are not to meet."""
    log_bytes: int = 40_000_000
    """That a container writes through a monitor."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TERM": "xterm-256color",
            "VCTUI_RUN_DIR": str(self.settings.run_dir),
            "VCTUI_STATE_DIR": str(self.settings.state_dir),
            "VCTUI_CACHE_DIR": str(self.settings.cache_dir),
        }

    def run(self, command: Sequence[str]) -> Ran:
        """Run a command to its end, without its output. Raises CalledProcessError."""
        return run(command, self.environment)


@dataclass(frozen=True, slots=True)
class Ran:
    wall: float
    """Seconds from before its start to after its end."""
    cpu: float
    """Seconds of processor time, as the kernel counts them."""


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> Ran:
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Ran(wall, usage.ru_utime + usage.ru_stime)


def yardstick() -> float:
    """Seconds of processor time."""
    return run(YARDSTICK).cpu


def cpu(*pids: int) -> float:
    """Seconds of processor time that live processes have used."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


def cpu_exactly(pid: int) -> float:
    """The same of one process in nanoseconds' steps, without threads that have ended; for what
    takes less than the hundredths in which the kernel counts otherwise."""
    spent = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has just ended
            spent += int(file.read_text().split()[0])
    return spent / 1e9


def pss_mb(pid: int) -> float:
    """Memory of a process, with its share of what it shares with others (proc(5): smaps_rollup)."""
    return float(psutil.Process(pid).memory_full_info().pss) / 1e6


def rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6
