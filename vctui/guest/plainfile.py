"""Small files, read and written whole, straight by system calls.

Python's own file objects look at a file, buffer it and decode it: a thousand pieces of code that an
emulated guest would have to translate before its first container runs.
"""

from __future__ import annotations

import os
import sys

_CHUNK = 16 * 1024


def read(path: str, most: int = sys.maxsize) -> bytes:
    """Its first `most` bytes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while len(data) < most and (chunk := os.read(fd, _CHUNK)):
            data += chunk
        return data[:most]
    finally:
        os.close(fd)


def write(path: str, data: bytes) -> None:
    """`data` to a file of the kernel's, which takes it in one piece. Raises OSError."""
    _write(path, data, os.O_WRONLY)


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """`data` instead of what the file had, or as a new file. Raises OSError."""
    _write(path, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)


def _write(path: str, data: bytes, flags: int, mode: int = 0) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
