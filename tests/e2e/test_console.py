"""The console as an operator has it: the installed program in a terminal, driven by keys alone."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import PROGRAM, Host, wait_until

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


class Terminal:
    """A tmux server of its own with one window of 120x40."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")

    def open(self, command: str, environment: dict[str, str]) -> None:
        self._tmux(
            "-f",
            os.devnull,
            "new-session",
            "-d",
            *("-x", "120", "-y", "40"),
            command,
            env={**environment, "TERM": "xterm-256color"},
        )

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def text(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def shows(self, *texts: str) -> None:
        def seen() -> bool:
            screen = self.screen()
            return all(text in screen for text in texts)

        try:
            wait_until(seen, f"{texts} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen()}") from error

    def is_open(self) -> bool:
        return (
            subprocess.run(
                ["tmux", "-S", self._socket, "has-session"], capture_output=True, check=False
            ).returncode
            == 0
        )

    def close(self) -> None:
        subprocess.run(
            ["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False
        )

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.close()


def test_an_operator_works_on_the_demo_pod_with_keys_alone(host: Host, terminal: Terminal):
    terminal.open(shlex.join([PROGRAM, "demo"]), host.environment)
    terminal.shows("hello", "● running", "clock", "Run /init as init process")
    terminal.keys("3")
    terminal.shows("tick")

    terminal.keys("s")
    terminal.shows("attached", "/ #")
    terminal.text("ps; echo $((20+22)) && tty")
    terminal.keys("Enter")
    terminal.shows("42", "PID", "/dev/")
    terminal.keys("C-p", "C-q")
    terminal.shows("Pods")

    terminal.keys("p")
    terminal.shows("◐ paused")
    assert host.status("hello")["state"] == "paused"
    terminal.keys("p")
    terminal.shows("● running")

    terminal.keys("K")
    terminal.shows("signal")
    terminal.keys("Enter")
    wait_until(lambda: host.container("hello", "clock")["state"] == "stopped", "the signal's work")
    terminal.shows("stopped")

    terminal.keys("D")
    terminal.shows("Delete")
    terminal.keys("y")
    wait_until(lambda: host.ask("pod", "list") == [], "the deletion")
    terminal.shows("no pods")
    assert host.left_over() == []

    terminal.keys("q")
    wait_until(lambda: not terminal.is_open(), "the console's end")


def test_what_another_terminal_does_shows_up(host: Host, terminal: Terminal):
    terminal.open(shlex.join([PROGRAM]), host.environment)
    terminal.shows("no pods")
    host.do("pod", "create", host.pod("elsewhere", ("idle", "sleep 1000")))
    terminal.shows("elsewhere", "○ ready")
    host.do("pod", "delete", "elsewhere")
    terminal.shows("no pods")


def test_vi_and_top_work_in_the_attached_terminal(host: Host, terminal: Terminal):
    host.do("pod", "run", host.pod("editor", ("idle", "sleep 100000")))
    terminal.open(shlex.join([PROGRAM]), host.environment)
    terminal.shows("editor", "● running", "idle")
    terminal.keys("s")
    terminal.shows("/ #")
    terminal.text("vi /note")
    terminal.keys("Enter")
    terminal.shows("~", "/note")
    terminal.keys("i")
    terminal.text("first line")
    terminal.keys("Enter")
    terminal.text("second line")
    terminal.shows("I /note")
    terminal.keys("Escape")
    terminal.shows("- /note")
    terminal.keys("Up", "0", "x")
    terminal.text(":wq")
    terminal.keys("Enter")
    terminal.shows("/ #")
    terminal.text("top")
    terminal.keys("Enter")
    terminal.shows("Mem:", "CPU:", "PID")
    terminal.keys("C-c")
    terminal.text("exit 4")
    terminal.keys("Enter")
    terminal.shows("4")
    said = host.do("container", "exec", "editor", "idle", "--", "cat", "/note")
    assert said == "irst line\nsecond line\n"
    host.do("pod", "delete", "editor")
