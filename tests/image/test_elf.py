"""ELF files are read without trusting them, and lose only what they do not use."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.reading import dynamic, elf
from vctui.image import elf as reader

_SMALL = elf({".a": b"one", ".b": b"two"}, ((1, b"code"), (4, b"note")))


def test_sections_and_segments_are_found() -> None:
    found = reader.sections(_SMALL)
    assert (found[".a"], found[".b"]) == (b"one", b"two")
    parts = [
        (part.type, _SMALL[part.offset : part.offset + part.size])
        for part in reader.segments(_SMALL)
    ]
    assert parts == [(1, b"code"), (4, b"note")]


def test_needed_libraries_come_in_order() -> None:
    assert reader.needed(elf(dynamic(("libb.so.1", "liba.so.2")))) == ("libb.so.1", "liba.so.2")
    assert reader.needed(_SMALL) == ()


@given(st.integers(0, len(_SMALL) - 1))
def test_a_file_that_is_cut_short_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="ELF"):
        reader.sections(_SMALL[:size])


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(16, 300), st.integers(0, 255))))
def test_garbage_is_an_error_at_most(tail: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(elf(dynamic(("liba.so", "libb.so"))) + tail)
    for at, value in changes:
        data[at % len(data)] = value
    for read in (reader.needed, lambda d: list(reader.segments(d)), reader.sections):
        with suppress(ValueError):
            read(bytes(data))
