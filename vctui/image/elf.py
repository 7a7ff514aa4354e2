"""What has to be known of ELF-64 files: their segments, their sections, the libraries they need."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

PT_LOAD: Final = 1
PT_NOTE: Final = 4

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC: Final = struct.Struct("<qQ")
_SHT_NOBITS: Final = 8
_DT_NEEDED: Final = 1

FILE_SIZE_FIELD: Final = 32
"""Offset of `p_filesz` in a program header."""


@dataclass(frozen=True, slots=True)
class Segment:
    type: int
    offset: int
    size: int
    """Bytes in the file."""
    header: int
    """Offset of its program header."""


def is_elf(data: bytes) -> bool:
    """Whether this begins like a little-endian ELF-64 file."""
    return data.startswith(b"\x7fELF\x02\x01")


def segments(data: bytes) -> Iterator[Segment]:
    """The segments, in the order of their headers.

    Raises:
        ValueError: not ELF-64, or cut short.
    """
    header = _header(data)
    table, entry_size, entries = header[5], header[9], header[10]
    _check(entries == 0 or entry_size >= _SEGMENT.size)
    _check(table + entry_size * entries <= len(data))
    for at in range(table, table + entry_size * entries, entry_size or 1):
        kind, _, offset, _, _, size, _, _ = _SEGMENT.unpack_from(data, at)
        _check(offset + size <= len(data))
        yield Segment(kind, offset, size, at)


def sections(data: bytes) -> Mapping[str, bytes]:
    """The sections' contents by name; the last one wins where names repeat.

    Raises:
        ValueError: not ELF-64, or cut short.
    """
    header = _header(data)
    table, entry_size, entries, names_index = header[6], header[11], header[12], header[13]
    if not entries:
        return {}
    _check(entry_size >= _SECTION.size and names_index < entries)
    _check(table + entry_size * entries <= len(data))
    rows = [_SECTION.unpack_from(data, table + entry_size * index) for index in range(entries)]
    names = _content(data, rows[names_index])
    return {_text(names, row[0]): _content(data, row) for row in rows if row[1] != _SHT_NOBITS}


def needed(data: bytes) -> tuple[str, ...]:
    """The names of the shared libraries that this file is linked with (`DT_NEEDED`).

    Raises:
        ValueError: not ELF-64, or cut short.
    """
    found = sections(data)
    dynamic, strings = found.get(".dynamic", b""), found.get(".dynstr", b"")
    entries = _DYNAMIC.iter_unpack(dynamic[: len(dynamic) // _DYNAMIC.size * _DYNAMIC.size])
    return tuple(_text(strings, value) for tag, value in entries if tag == _DT_NEEDED)


def _header(data: bytes) -> tuple[int, ...]:
    _check(is_elf(data) and len(data) >= _HEADER.size)
    fields: tuple[int, ...] = _HEADER.unpack_from(data)
    return fields


def _content(data: bytes, row: tuple[int, ...]) -> bytes:
    offset, size = row[4], row[5]
    _check(row[1] == _SHT_NOBITS or offset + size <= len(data))
    return data[offset : offset + size]


def _text(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    _check(end >= 0)
    return strings[at:end].decode("utf-8", "replace")


def _check(whole: bool) -> None:
    if not whole:
        raise ValueError("broken or incomplete ELF-64 file")
