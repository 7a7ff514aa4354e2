"""Files: private, written whole or not at all, read from their end."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_BLOCK: Final = 64 * 1024


def private_dir(path: Path) -> Path:
    """Make the folder and its missing parents with mode 0700; leave one that exists as it is.

    Raises:
        OSError
    """
    for folder in (*reversed(path.parents), path):
        with suppress(FileExistsError):
            folder.mkdir(0o700)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return path


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file by `data`; whoever reads it sees the old or the new one, even after a
    power cut.

    Raises:
        OSError: the old file is untouched, nothing else is left.
    """
    draft = draft_path(path)
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def draft_path(path: Path) -> Path:
    """A hidden name beside `path` that nobody uses, for what is renamed to `path` when it is
    whole."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}")


def tail(path: Path, lines: int, *, limit: int = 256 * 1024) -> list[bytes]:
    """The last `lines` lines, without their ends, out of the last `limit` bytes at most.

    A file that is missing has none.
    """
    try:
        with path.open("rb") as file:
            end = position = file.seek(0, os.SEEK_END)
            data = b""
            while position > 0 and end - position < limit and data.count(b"\n") <= lines:
                step = min(_BLOCK, position, limit - (end - position))
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except FileNotFoundError:
        return []
    return data.splitlines()[-lines:] if lines > 0 else []


def room(path: Path) -> int:
    """Free bytes for us on the file system of `path`, or of its nearest folder that exists."""
    there = next(each for each in (path, *path.parents) if each.exists())
    numbers = os.statvfs(there)
    return numbers.f_bavail * numbers.f_frsize
