"""The archive that the kernel unpacks as its first root file system: cpio `newc`.

Format: Documentation/driver-api/early-userspace/buffer-format.rst.
The same tree gives the same bytes: no times, no host inodes, sorted names.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_ALIGNMENT: Final = 4
_BLOCK: Final = 512
_TRAILER: Final = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Node:
    """A file of the archive; a folder or a symbolic link where `mode` says so."""

    mode: int
    """With the file type: `stat.S_IFREG | 0o755`."""
    data: bytes = b""
    """Content; of a symbolic link its target."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""


def file(data: bytes, *, executable: bool = False) -> Node:
    return Node(stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(target: str) -> Node:
    return Node(stat.S_IFLNK | 0o777, target.encode())


def folder(mode: int = 0o755) -> Node:
    return Node(stat.S_IFDIR | mode)


def character_device(major: int, minor: int, mode: int = 0o600) -> Node:
    return Node(stat.S_IFCHR | mode, device=(major, minor))


def archive(tree: Mapping[str, Node]) -> Iterator[bytes]:
    """Yield the archive of `tree`, whose keys are paths without a leading slash.

    Folders that `tree` implies but does not name are added with mode 0755.

    Raises:
        ValueError: a path is absolute, empty, or has `.` or `..` in it.
    """
    complete = dict(tree)
    for path in tree:
        parts = path.split("/")
        if not all(part not in {"", ".", ".."} for part in parts):
            raise ValueError(f"{path!r} is no path of an archive")
        for depth in range(1, len(parts)):
            complete.setdefault("/".join(parts[:depth]), folder())
    size = 0
    for inode, path in enumerate(sorted(complete), start=1):
        record = _record(inode, path, complete[path])
        size += len(record)
        yield record
    trailer = _record(0, _TRAILER, Node(0))
    yield trailer + bytes(-(size + len(trailer)) % _BLOCK)


def _record(inode: int, path: str, node: Node) -> bytes:
    name = path.encode() + b"\0"
    major, minor = node.device
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (inode, node.mode, 0, 0, links, 0, len(node.data), 0, 0, major, minor, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + bytes(-len(head) % _ALIGNMENT) + node.data + bytes(-len(node.data) % _ALIGNMENT)
