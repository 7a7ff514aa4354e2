"""A bzImage gives the ELF that QEMU boots through PVH, or says that it has none."""

from __future__ import annotations

import gzip
import lzma
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.image.reading import bzimage, elf, xen_note
from vctui.image import elf as reader
from vctui.image import kernel

_CODE = b"code" * 100
_PVH = elf({}, ((4, xen_note(1) + xen_note(18)), (1, _CODE), (1, b"data" + bytes(5000))))
_PACKERS = {
    "xz": lzma.compress,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(level=19).compress,
}


@pytest.mark.parametrize(("name", "pack"), _PACKERS.items())
def test_the_payload_is_found_and_unpacked(name: str, pack) -> None:
    packed = kernel.payload(bzimage(pack(_PVH) + len(_PVH).to_bytes(4, "little")))
    assert kernel.compression(packed) == name
    assert kernel.decompress(name, packed) == _PVH


def test_zeros_at_the_end_are_left_to_memory() -> None:
    small = kernel.bootable(_PVH)
    assert small is not None
    assert len(small) < len(_PVH) - 4900
    contents = [small[part.offset : part.offset + part.size] for part in reader.segments(small)]
    assert contents[1:] == [_CODE, b"data"]


def test_a_kernel_without_pvh_is_left_as_it_is() -> None:
    assert kernel.bootable(elf({}, ((4, xen_note(1)), (1, _CODE)))) is None


@pytest.mark.parametrize("image", [b"", bytes(4096), bzimage(b"x" * 100)[:1050]])
def test_what_is_no_whole_bzimage_is_refused(image: bytes) -> None:
    with pytest.raises(ValueError, match="bzImage"):
        kernel.payload(image)


@pytest.mark.parametrize("name", _PACKERS)
def test_broken_and_cut_data_are_refused(name: str) -> None:
    packed = _PACKERS[name](_PVH)
    with pytest.raises(ValueError, match=name):
        kernel.decompress(name, packed[:-20])
    with pytest.raises(ValueError, match=name):
        kernel.decompress(name, b"nothing like it")


def test_an_unknown_compression_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        kernel.decompress(kernel.compression(b"what?"), b"what?")


@given(st.binary(max_size=2000))
def test_garbage_is_an_error_at_most(data: bytes) -> None:
    for function in (kernel.payload, kernel.bootable):
        with suppress(ValueError):
            function(data)
        with suppress(ValueError):
            function(b"\x7fELF\x02\x01" + data)
