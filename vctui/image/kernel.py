"""The kernel that QEMU boots quickest: the ELF inside a distribution's bzImage.

A bzImage unpacks itself on the emulated CPU at every boot; without KVM that costs seconds.
The ELF is taken out once, on the host, and booted through its PVH entry point.
Format: the x86 boot protocol (Documentation/arch/x86/boot.rst).
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import zstandard

from vctui.image import elf

_SETUP_SECTORS: Final = 0x1F1
_HEADER_MAGIC: Final = 0x202
_PAYLOAD: Final = 0x248
_HEADER_END: Final = 0x250

_XEN_PHYS32_ENTRY: Final = 18
_NOTE: Final = struct.Struct("<III")

_MAX_KERNEL: Final = 512 * 1024 * 1024
_ZSTD_WINDOW: Final = 128 * 1024 * 1024
"""Kernels are packed with level 22, whose window this is."""
_PIECE: Final = 64 * 1024

_MAGICS: Final = (
    (b"\xfd7zXZ\0", "xz"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
)


def compression(data: bytes) -> str:
    """The name of the compression that `data` begins with; empty if it is none we know."""
    return next((name for magic, name in _MAGICS if data.startswith(magic)), "")


def decompress(name: str, data: bytes) -> bytes:
    """What needs no program of the host: `xz`, `lzma`, `gzip`, `zstd`.

    Bytes after the end of the stream are ignored: the kernel's build appends the plain size.

    Raises:
        ValueError: the data is broken or cut short, or the format is another.
    """
    try:
        if name in {"xz", "lzma"}:
            unxz = lzma.LZMADecompressor()
            plain = unxz.decompress(data, _MAX_KERNEL)
            complete = unxz.eof
        elif name == "gzip":
            gunzip = zlib.decompressobj(wbits=31)
            plain = gunzip.decompress(data, _MAX_KERNEL)
            complete = gunzip.eof
        elif name == "zstd":
            plain, complete = _unzstd(data)
        else:
            raise ValueError(f"compression {name or 'of an unknown kind'} is not built in")
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"broken {name} data: {error}") from error
    if not complete:
        raise ValueError(f"the {name} data ends too early")
    return plain


def _unzstd(data: bytes) -> tuple[bytes, bool]:
    """In pieces, as zstandard bounds no single step; and whether the end was found."""
    unzstd = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    plain = bytearray()
    for start in range(0, len(data), _PIECE):
        plain += unzstd.decompress(data[start : start + _PIECE])
        if unzstd.eof or len(plain) > _MAX_KERNEL:
            break
    return bytes(plain), unzstd.eof


def payload(image: bytes) -> bytes:
    """The compressed kernel inside a bzImage.

    Raises:
        ValueError: `image` is no bzImage, or is cut short.
    """
    if len(image) < _HEADER_END or image[_HEADER_MAGIC : _HEADER_MAGIC + 4] != b"HdrS":
        raise ValueError("not a bzImage")
    sectors = image[_SETUP_SECTORS] or 4
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = (sectors + 1) * 512 + offset
    data = image[start : start + length]
    if not length or len(data) < length:
        raise ValueError("the bzImage is cut short")
    return data


def bootable(kernel: bytes) -> bytes | None:
    """A kernel's ELF as QEMU boots it, or None where QEMU has to boot the bzImage itself.

    That is so for kernels without a PVH entry point (`CONFIG_PVH`).
    Zeros at the end are cut off, as memory is zero anyway: 24 of 65 MB in Debian's kernel,
    which QEMU would copy at each start and keep in each machine's memory.

    Raises:
        ValueError: `kernel` is broken.
    """
    segments = tuple(elf.segments(kernel))
    notes = b"".join(
        kernel[segment.offset : segment.offset + segment.size]
        for segment in segments
        if segment.type == elf.PT_NOTE
    )
    if _XEN_PHYS32_ENTRY not in _xen_notes(notes):
        return None
    loaded = [segment for segment in segments if segment.type == elf.PT_LOAD and segment.size]
    if not loaded:
        raise ValueError("the kernel has nothing to load")
    last = max(loaded, key=lambda segment: segment.offset + segment.size)
    content = kernel[: last.offset + last.size].rstrip(b"\0")
    shortened = max(len(content) - last.offset, 0)
    trimmed = bytearray(kernel[: last.offset + shortened])
    struct.pack_into("<Q", trimmed, last.header + elf.FILE_SIZE_FIELD, shortened)
    return bytes(trimmed)


def _xen_notes(notes: bytes) -> Iterator[int]:
    """The types of the notes that belong to `Xen`, from whom PVH was taken over."""
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, description_size, kind = _NOTE.unpack_from(notes, at)
        name = notes[at + _NOTE.size : at + _NOTE.size + name_size]
        at += _NOTE.size + (name_size + 3 & ~3) + (description_size + 3 & ~3)
        if name == b"Xen\0":
            yield kind
