"""Which file system a path is on, and whether a block device is mounted: /proc/PID/mountinfo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from vctui.linux.mounts import unescape


class Mounted(msgspec.Struct, frozen=True):
    """A line of mountinfo (proc(5))."""

    device: tuple[int, int]
    """Major and minor number."""
    root: str
    """What of the file system is seen at `point`."""
    point: str
    read_only: bool
    """Of the file system itself: no other mount of it can be written to either."""
    type: str = ""
    """Of the file system: `tmpfs`, for instance."""


def parse(text: str) -> Iterator[Mounted]:
    """In the kernel's order, newest last. Lines that do not fit the format are left out."""
    for line in text.splitlines():
        fields = line.split(" ")
        before, dash, after = " ".join(fields[6:]).partition("- ")
        major, colon, minor = fields[2].partition(":") if len(fields) > 5 else ("", "", "")
        del before
        if not (dash and colon and major.isdecimal() and minor.isdecimal()):
            continue
        words = after.split(" ")
        yield Mounted(
            device=(int(major), int(minor)),
            root=unescape(fields[3]),
            point=unescape(fields[4]),
            read_only="ro" in ",".join(words[2:3]).split(","),
            type=words[0],
        )


def read(path: Path = Path("/proc/self/mountinfo")) -> tuple[Mounted, ...]:
    return tuple(parse(path.read_text(encoding="utf-8", errors="surrogateescape")))


def holding(path: Path, mounts: tuple[Mounted, ...]) -> Mounted | None:
    """What a path without links in it is on: the newest mount at the deepest point above it."""
    above = [one for one in mounts if _is_below(os.fspath(path), one.point)]
    return max(reversed(above), key=lambda one: len(one.point), default=None)


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
