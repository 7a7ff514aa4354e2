"""The demo: a tour in text, and the console where there is a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_a_tour_that_fails_on_the_way_leaves_nothing(cli: Cli) -> None:
    """The noop agent runs nothing, so the tour ends at its first command in a container."""
    result = cli("demo")
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert cli("pod", "list", "--json").document == []


def test_on_a_terminal_the_console_opens_with_the_pod_running(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for earlier in ((), ("pod", "pause", "hello"), ("pod", "stop", "hello")):
        if earlier:
            assert cli(*earlier).status == 0
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin.isatty", lambda: True)
            patch.setattr("sys.stdout.isatty", lambda: True)
            result = cli("demo")
        assert result.status == 7
        assert "the console" in result.out
        assert "pod hello is still there (running)" in result.err
        assert cli("pod", "status", "hello", "--json").document["state"] == "running"


@pytest.mark.vm
def test_the_tour_goes_through_a_real_pods_life_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "VCTUI_RUN_DIR": str(tmp_path / "run"),
        "VCTUI_STATE_DIR": str(tmp_path / "state"),
    }

    def vctui(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "vctui", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    lines = vctui("demo").splitlines()
    commands = [line.split()[2:] for line in lines if line.startswith("$ vctui")]
    assert [" ".join(words[:2]).split(" tour")[0] for words in commands] == [
        "pod create",
        "pod start",
        "pod list",
        "container exec",
        "logs",
        "pod pause",
        "pod resume",
        "pod delete",
    ]
    assert any(line.startswith("Linux ") for line in lines)
    assert sum(line.startswith("tick ") for line in lines) == 3
    assert json.loads(vctui("pod", "list", "--json")) == []
    assert not any((tmp_path / "run" / "pods").iterdir())
