"""Where the root file system of a disk image is: partition tables and superblocks, as bytes.

Formats: MBR and GPT (UEFI specification, chapter 5), and the superblocks of the file systems that
a guest's root may have.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

Read = Callable[[int, int], bytes]
"""(offset, length) → bytes of the image; fewer where it ends."""

_SECTOR: Final = 512
_MAGICS: Final = (
    ("ext4", 1080, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
)
"""ext4 stands for ext2 and ext3 as well: the kernel mounts them by the same driver."""

_MBR_MAGIC: Final = b"\x55\xaa"
_MBR_ENTRIES: Final = 446
_MBR_ENTRY: Final = struct.Struct("<B3xB3xII")
_PROTECTIVE: Final = 0xEE
_GPT_HEADER: Final = struct.Struct("<8s64xQII")
_GPT_MAGIC: Final = b"EFI PART"
_GPT_MAX_ENTRIES: Final = 128
_GPT_ENTRY: Final = struct.Struct("<16s16xQ")

_PFN: Final = 4096
_PFN_MAGIC: Final = b"NVDIMM_PFN_INFO\0"


class Root(msgspec.Struct, frozen=True):
    partition: int
    """From 1; 0 where the file system fills the whole disk."""
    filesystem: str
    """As `mount -t` calls it."""
    dax: bool = False
    """Whether the image says that a kernel may map files of it straight from an NVDIMM: a
    superblock of the kernel's (`struct nd_pfn_sb`), with which images are made for that."""


def find_root(read: Read) -> Root:
    """The whole disk, else the first partition with a file system that can be a root.

    Raises:
        ValueError: there is none.
    """
    for number, start in ((0, 0), *_partitions(read)):
        for name, offset, magic in _MAGICS:
            if read(start + offset, len(magic)) == magic:
                return Root(number, name, read(_PFN, len(_PFN_MAGIC)) == _PFN_MAGIC)
    raise ValueError("it has no ext4, xfs, squashfs or erofs file system, as a whole or in a part")


def _partitions(read: Read) -> Iterator[tuple[int, int]]:
    """Numbers and offsets."""
    if read(_SECTOR - 2, 2) != _MBR_MAGIC:
        return
    for number in range(1, 5):
        offset = _MBR_ENTRIES + (number - 1) * _MBR_ENTRY.size
        _, kind, first, _ = _MBR_ENTRY.unpack(read(offset, _MBR_ENTRY.size))
        if kind == _PROTECTIVE:
            yield from _gpt(read)
            return
        if kind and first:
            yield number, first * _SECTOR


def _gpt(read: Read) -> Iterator[tuple[int, int]]:
    header = read(_SECTOR, _GPT_HEADER.size)
    if len(header) < _GPT_HEADER.size:
        return
    magic, table, count, size = _GPT_HEADER.unpack(header)
    if magic != _GPT_MAGIC or size < _GPT_ENTRY.size:
        return
    for number in range(1, min(count, _GPT_MAX_ENTRIES) + 1):
        entry = read(table * _SECTOR + (number - 1) * size, _GPT_ENTRY.size)
        if len(entry) < _GPT_ENTRY.size:
            return
        kind, first = _GPT_ENTRY.unpack(entry)
        if any(kind) and first:
            yield number, first * _SECTOR
