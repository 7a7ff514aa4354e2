"""Logging set-up: the console writes to a file, a command to standard error."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final

FILE: Final = "vctui.log"
_MAX_BYTES: Final = 4 * 1024 * 1024
_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)
_QUIET: Final = ("asyncio", "asyncinotify", "markdown_it")
"""Libraries that say nothing of use below a warning."""


def to_stderr(verbosity: int) -> None:
    """For a command: warnings; with `-v` also information, with `-vv` everything."""
    _install(logging.StreamHandler(sys.stderr), verbosity)


def to_file(state_dir: Path) -> Path:
    """For the console, whose standard error is the screen: warnings. One old file is kept.

    Several consoles append to the same file, each line with its process.

    Raises:
        OSError: the file cannot be written.
    """
    from logging.handlers import RotatingFileHandler

    path = state_dir / FILE
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
    handler = RotatingFileHandler(
        path, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8", errors="replace"
    )
    _install(handler, 0, prefix="%(process)d ")
    return path


def _install(handler: logging.Handler, verbosity: int, *, prefix: str = "") -> None:
    handler.setFormatter(logging.Formatter(prefix + _FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(_LEVELS[min(max(verbosity, 0), len(_LEVELS) - 1)])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
