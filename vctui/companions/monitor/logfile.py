"""A log file of bounded size that never takes the monitor down."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_RETRY_AFTER: Final = 5.0
"""Seconds between two attempts while the disk refuses."""
_MODE: Final = 0o600

Warn = Callable[[str], None]


class LogFile:
    """Appends whole records to `path`; at `max_bytes` it becomes `path.1` and a new one begins.

    Writes go to the page cache and are short, so they are made where they are called.
    While the disk refuses, records are counted and dropped; `warn` hears of the first refusal
    and of the recovery, with one sentence each.
    """

    def __init__(self, path: Path, max_bytes: int, warn: Warn) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._warn = warn
        self._fd = -1
        self._size = 0
        self._dropped = 0
        self._retry_at = 0.0

    def write(self, records: bytes) -> None:
        if not records:
            return
        if self._retry_at and time.monotonic() < self._retry_at:
            self._dropped += len(records)
            return
        try:
            self._append(records)
        except OSError as error:
            self._refused(error, len(records))
            return
        if self._retry_at:
            self._warn(
                f"{self._path.name} is written again; {self._dropped} bytes are missing from it"
            )
            self._retry_at, self._dropped = 0.0, 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, records: bytes) -> None:
        if self._fd >= 0 and self._size and self._size + len(records) > self._max_bytes:
            self.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        if self._fd < 0:
            self._open()
        view = memoryview(records)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._size)  # half a record would spoil the next one
            raise
        self._size += len(records)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, _MODE)
        self._size = os.fstat(self._fd).st_size

    def _refused(self, error: OSError, size: int) -> None:
        self._dropped += size
        if not self._retry_at:
            remedy = (
                "; free some room and it goes on by itself"
                if error.errno in {errno.ENOSPC, errno.EDQUOT}
                else ""
            )
            self._warn(
                f"{self._path.name} cannot be written and loses output: {error.strerror}{remedy}"
            )
        self._retry_at = time.monotonic() + _RETRY_AFTER
