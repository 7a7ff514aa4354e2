"""The fuzzers' targets, over their seeds and over what hypothesis makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.codecs import TARGETS


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_well_formed_and_cut_input_breaks_nothing(name: str):
    for seed in seeds.of(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", sorted(TARGETS))
@given(data=st.data())
def test_changed_input_breaks_nothing(name: str, data: st.DataObject):
    """Seeds one after the other, with some bytes replaced, and anything behind them."""
    parts = data.draw(st.lists(st.sampled_from(seeds.of(name)), max_size=4))
    mixed = bytearray(b"".join(parts) + data.draw(st.binary(max_size=64)))
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8)
    ):
        if mixed:
            mixed[at % len(mixed)] = value
    TARGETS[name](bytes(mixed))
