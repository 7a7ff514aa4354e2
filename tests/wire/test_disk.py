"""Finding a root file system in the bytes of a disk image."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire.disk import Read, Root, find_root

EXT4 = (1080, b"\x53\xef")
XFS = (0, b"XFSB")
MBR_MAGIC = (510, b"\x55\xaa")
GPT_HEADER = (512, struct.pack("<8s64xQII", b"EFI PART", 2, 128, 128))
LINUX, PROTECTIVE = 0x83, 0xEE


def reader(*pieces: tuple[int, bytes]) -> Read:
    """An image of zeros with `pieces` at their offsets."""
    image = bytearray(max(offset + len(data) for offset, data in pieces) + 4096)
    for offset, data in pieces:
        image[offset : offset + len(data)] = data
    return lambda offset, length: bytes(image[offset : offset + length])


def at(start: int, piece: tuple[int, bytes]) -> tuple[int, bytes]:
    return start + piece[0], piece[1]


def mbr(number: int, kind: int, first: int) -> tuple[int, bytes]:
    return 446 + 16 * (number - 1), struct.pack("<B3xB3xII", 0, kind, first, 100)


def gpt(number: int, first: int) -> tuple[int, bytes]:
    return 1024 + 128 * (number - 1), struct.pack("<16s16xQ", b"k" * 16, first)


@pytest.mark.parametrize(
    ("filesystem", "piece"),
    [
        ("ext4", EXT4),
        ("xfs", XFS),
        ("squashfs", (0, b"hsqs")),
        ("erofs", (1024, b"\xe2\xe1\xf5\xe0")),
    ],
)
def test_a_file_system_may_fill_the_disk(filesystem, piece):
    assert find_root(reader(piece)) == Root(0, filesystem)


def test_the_first_partition_with_a_file_system_is_taken():
    parts = (mbr(1, LINUX, 10), mbr(3, LINUX, 20), MBR_MAGIC)
    assert find_root(reader(*parts, at(20 * 512, EXT4))) == Root(3, "ext4")
    assert find_root(reader(*parts, at(20 * 512, EXT4), at(5120, XFS))) == Root(1, "xfs")


def test_a_gpt_stands_behind_a_protective_mbr():
    parts = (mbr(1, PROTECTIVE, 1), MBR_MAGIC, GPT_HEADER, gpt(1, 64), gpt(2, 128))
    assert find_root(reader(*parts, at(128 * 512, EXT4))) == Root(2, "ext4")


def test_an_image_that_was_made_for_an_nvdimm_says_so():
    assert find_root(reader(EXT4, (4096, b"NVDIMM_PFN_INFO\0"))) == Root(0, "ext4", dax=True)


def test_an_empty_entry_is_no_partition():
    with pytest.raises(ValueError, match="no ext4"):
        find_root(reader(mbr(1, 0, 10), MBR_MAGIC, at(5120, EXT4)))


@given(st.binary(max_size=4096), st.sampled_from([(), (MBR_MAGIC,), (MBR_MAGIC, GPT_HEADER)]))
def test_any_bytes_are_a_root_or_a_refusal(noise, pieces):
    image = bytearray(noise.ljust(2048, b"\0"))
    for offset, data in pieces:
        image[offset : offset + len(data)] = data
    if len(pieces) == 2:
        image[450] = PROTECTIVE
    try:
        root = find_root(lambda offset, length: bytes(image[offset : offset + length]))
    except ValueError:
        return
    assert 0 <= root.partition <= 128
    assert root.filesystem


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 600])
def test_an_image_that_is_cut_short_is_refused(size):
    whole = reader(mbr(1, PROTECTIVE, 1), MBR_MAGIC, GPT_HEADER, gpt(1, 64))
    with pytest.raises(ValueError, match="no ext4"):
        find_root(lambda offset, length: whole(0, size)[offset : offset + length])
