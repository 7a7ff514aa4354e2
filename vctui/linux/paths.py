# ruff: noqa: PTH100 (the guest does without pathlib)
"""Paths below a folder that somebody else may write to: no symbolic link is ever followed.

A pod's share is writable by its guest, so any folder in it may turn into a link
to the host's own files between two system calls.
What is done there is done on file descriptors that were reached step by step.
Imports little: the guest ships this module too.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def split_below(relative: str | os.PathLike[str]) -> tuple[str, ...]:
    """The components of a relative path.

    Raises:
        ValueError: the path is absolute, leaves its root, or holds a NUL.
    """
    text = os.fspath(relative)
    parts = tuple(part for part in text.split("/") if part not in {"", "."})
    if text.startswith("/") or ".." in parts or "\0" in text:
        raise ValueError(f"{text!r} does not stay below its root")
    return parts


@contextmanager
def opened_folder(
    root: str | os.PathLike[str], relative: str | os.PathLike[str] = "", *, create: bool = False
) -> Iterator[int]:
    """A file descriptor (O_PATH) of the folder `relative` below the trusted `root`.

    With `create`, missing folders are made with mode 0755.

    Raises:
        OSError: a component is missing, or is no folder (a symbolic link is none).
        ValueError: see `split_below`.
    """
    parts = split_below(relative)
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


@contextmanager
def opened_path(path: str | os.PathLike[str]) -> Iterator[int]:
    """A file descriptor (O_PATH) of anything that is not a symbolic link, by its real path.

    Raises:
        OSError: a component is missing or is a symbolic link.
    """
    folder, name = os.path.split(os.path.abspath(path))
    with opened_folder("/", folder.lstrip("/")) as parent:
        found = os.open(name or ".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield found
    finally:
        os.close(found)
