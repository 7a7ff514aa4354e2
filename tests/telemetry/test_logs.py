"""Promises of logging: a private file for the console, standard error for a command."""

from __future__ import annotations

import logging
import stat

import pytest

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
    logging.getLogger("vctui.engine").info("pod %s started", "web")
    logging.getLogger("vctui.engine").debug("not this")
    text = path.read_text()
    assert "vctui.engine: pod web started" in text
    assert "not this" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


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
