"""Promises of logging: a private file for the console, standard error for a command."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from vctui.__main__ import open_console
from vctui.settings import Paths, Settings
from vctui.telemetry import logs


@pytest.fixture(autouse=True)
def root_logger():
    """Gives the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_file_is_private_and_has_the_lines(tmp_path):
    path = logs.to_file(tmp_path)
    logging.getLogger("vctui.engine").warning("pod %s is odd", "web")
    logging.getLogger("vctui.engine").info("not this")
    text = path.read_text()
    assert "vctui.engine: pod web is odd" in text
    assert "not this" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_the_engine_warns_of_below_the_console_is_in_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def run(_settings: Settings, *, read_only: bool) -> int:
        logging.getLogger("vctui.engine").warning("read-only is %s", read_only)
        return 3

    monkeypatch.setattr("vctui.tui.app.run", run)
    state = tmp_path / "state"
    settings = Settings(paths=Paths(state_dir=str(state)))
    assert open_console(settings, read_only=True) == 3
    assert "vctui.engine: read-only is True" in (state / logs.FILE).read_text()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_console_that_cannot_keep_its_warnings_opens_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vctui.tui.app.run", lambda _settings, read_only: int(read_only))
    (tmp_path / "file").touch()
    settings = Settings(paths=Paths(state_dir=str(tmp_path / "file")))
    assert open_console(settings, read_only=False) == 0


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 1), (1, 2), (2, 3), (9, 3)])
def test_a_command_says_as_much_as_it_is_asked_for(capsys, verbosity, lines):
    logs.to_stderr(verbosity)
    log = logging.getLogger("vctui.x")
    log.warning("one")
    log.info("two")
    log.debug("three")
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == lines


def test_set_up_again_does_not_double_the_lines(capsys):
    logs.to_stderr(0)
    logs.to_stderr(0)
    logging.getLogger("vctui.x").warning("one")
    assert len(capsys.readouterr().err.splitlines()) == 1
