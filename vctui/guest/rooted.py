"""Files below a root folder that somebody hostile may change meanwhile: no link leads out of it."""

from __future__ import annotations

import errno
import os
import stat

_MAX_LINKS = 40


def open_file(root: str, path: str, *, write: bool = False) -> int:
    """A descriptor of a regular file, found as a process whose root is `root` would find it.

    The kernel is shown one name at a time and follows no link: what a link says is read and walked
    here, so that links which only look like text (`/proc/PID/root`) lead nowhere else either.

    Args:
        write: make the file with mode 0644 where there is none, and empty it.

    Raises:
        OSError: it is not there, no file, or cannot be opened.
    """
    parts = path.split("/")[::-1]
    links = 0
    folders = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        while parts:
            part = parts.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                if len(folders) > 1:
                    os.close(folders.pop())
                continue
            try:
                found = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folders[-1])
            except FileNotFoundError:
                if parts or not write:
                    raise
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                return os.open(part, flags, 0o644, dir_fd=folders[-1])
            folders.append(found)
            kind = os.fstat(found).st_mode
            if stat.S_ISLNK(kind):
                target = os.readlink("", dir_fd=found)
                os.close(folders.pop())
                links += 1
                if links > _MAX_LINKS:
                    raise _error(errno.ELOOP)
                if target.startswith("/"):
                    while len(folders) > 1:
                        os.close(folders.pop())
                parts += target.split("/")[::-1]
            elif not parts and stat.S_ISREG(kind):
                flags = os.O_WRONLY | os.O_TRUNC if write else os.O_RDONLY
                return os.open(f"/proc/self/fd/{found}", flags | os.O_CLOEXEC)
            elif not stat.S_ISDIR(kind):
                raise _error(errno.ENOTDIR) if parts else OSError(errno.EINVAL, "not a file")
        raise _error(errno.EISDIR)
    finally:
        for fd in folders:
            os.close(fd)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
