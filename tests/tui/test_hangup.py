"""The terminal goes away in the middle of an operation."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pexpect

ROOT = Path(__file__).parents[2]
DEADLINE = 60


def start(*command: str) -> pexpect.spawn:
    """A console, seen running in a terminal."""
    console = pexpect.spawn(
        command[0],
        list(command[1:]),
        cwd=str(ROOT),
        env={**os.environ, "TERM": "xterm-256color"},
        dimensions=(24, 80),
        timeout=DEADLINE,
        encoding="utf-8",
    )
    console.expect("running")
    return console


def start_pausing(folder: Path, grace: float) -> pexpect.spawn:
    """A console in the middle of pausing a pod."""
    console = start(sys.executable, "-m", "tests.tui.hangup_program", str(folder), str(grace))
    console.send("p")
    console.expect("pause web")
    return console


def result(console: pexpect.spawn, folder: Path) -> list[str]:
    """What the console left: exit status, the pod's state, its calls."""
    end = time.monotonic() + DEADLINE
    while not (folder / "done").exists():
        if time.monotonic() > end:
            os.kill(console.pid, signal.SIGKILL)
            raise AssertionError("the console did not end")
        time.sleep(0.02)
    return (folder / "done").read_text().split()


def test_what_is_under_way_completes(tmp_path: Path) -> None:
    console = start_pausing(tmp_path, grace=DEADLINE)
    os.close(console.child_fd)  # the kernel sends SIGHUP
    (tmp_path / "go").touch()
    assert result(console, tmp_path) == ["129", "paused", "pause_pod", "close"]
    os.waitpid(console.pid, 0)
    console.closed = True


def test_what_does_not_complete_in_its_grace_is_undone(tmp_path: Path) -> None:
    console = start_pausing(tmp_path, grace=0.2)
    os.close(console.child_fd)
    assert result(console, tmp_path)[:2] == ["129", "running"]
    assert (tmp_path / "done").read_text().endswith("pause_pod undone close")
    os.waitpid(console.pid, 0)
    console.closed = True


def test_a_request_to_end_is_obeyed(tmp_path: Path) -> None:
    console = start_pausing(tmp_path, grace=0.2)
    os.kill(console.pid, signal.SIGTERM)
    console.expect(pexpect.EOF)
    assert result(console, tmp_path)[:2] == ["143", "running"]
    console.close()


def test_the_picture_goes_to_the_terminal_where_errors_go_to_a_file(tmp_path: Path) -> None:
    program = 'exec "$0" -m tests.tui.hangup_program "$1" 1 2>"$1/errors"'
    console = start("/bin/sh", "-c", program, sys.executable, str(tmp_path))
    console.send("q")
    console.expect(pexpect.EOF)
    assert result(console, tmp_path) == ["0", "running", "close"]
    assert (tmp_path / "errors").read_text() == ""
    console.close()
