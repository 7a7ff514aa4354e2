"""Reads what the builder writes; makes small ELF files, modules and kernels to feed it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from vctui.image import cpio

_FIELDS = 13


def read_archive(data: bytes) -> dict[str, cpio.Node]:
    """The files of a cpio archive."""
    found: dict[str, cpio.Node] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(_FIELDS)]
        mode, size, major, minor, name_size = (fields[i] for i in (1, 6, 9, 10, 11))
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        at = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            assert not data[at:].strip(b"\0")
            return found
        found[name] = cpio.Node(mode, data[at : at + size], (major, minor))
        at = (at + size + 3) & ~3


def elf(sections: Mapping[str, bytes], segments: tuple[tuple[int, bytes], ...] = ()) -> bytes:
    """An ELF-64 file of named sections, then segments of a type with content."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    body = bytearray(64 + 56 * len(segments))
    program = b""
    for kind, content in segments:
        program += struct.pack("<IIQQQQQQ", kind, 5, len(body), 0, 0, len(content), len(content), 8)
        body += content
    rows = [bytes(64)]
    for name, content in [*sections.items(), (".shstrtab", names)]:
        where = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", where, 1, 0, 0, len(body), len(content), 0, 0, 1, 0))
        body += content
    table = len(body)
    body += b"".join(rows)
    header = struct.pack(
        *("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, table, 0, 64, 56),
        *(len(segments), 64, len(rows), len(rows) - 1),
    )
    body[: len(header)] = header
    body[64 : 64 + len(program)] = program
    return bytes(body)


def dynamic(needed: tuple[str, ...]) -> dict[str, bytes]:
    """The sections of a file that is linked with libraries."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    entries = [(1, strings.index(name.encode() + b"\0")) for name in needed]
    return {
        ".dynstr": strings,
        ".dynamic": b"".join(struct.pack("<qQ", *entry) for entry in [*entries, (5, 1), (0, 0)]),
    }


def module(*modinfo: str) -> bytes:
    """A kernel module with these `key=value` entries."""
    return elf({".modinfo": b"".join(entry.encode() + b"\0" for entry in modinfo)})


def xen_note(kind: int) -> bytes:
    return struct.pack("<III", 4, 8, kind) + b"Xen\0" + bytes(8)


def bzimage(payload: bytes) -> bytes:
    """A bzImage with one setup sector around a compressed kernel."""
    image = bytearray(1024)
    image[0x1F1] = 1
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 16, len(payload))
    return bytes(image) + bytes(16) + payload + bytes(4)
