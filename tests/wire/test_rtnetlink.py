from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire import rtnetlink as rt

values = st.dictionaries(st.integers(1, 100), st.binary(max_size=40), max_size=6)


@given(values=values, kind=st.integers(16, 100))
def test_what_is_encoded_is_decoded(values: dict[int, bytes], kind: int) -> None:
    fixed = rt.LINK.pack(0, 0, 7, 1, 1)
    data = rt.encode(kind, rt.ACK, 3, fixed, values) * 2
    found = list(rt.decode(data))
    assert [message.kind for message in found] == [kind, kind]
    assert found[0].body[: rt.LINK.size] == fixed
    assert rt.parse_attributes(found[0].body[rt.LINK.size :]) == values


@given(data=st.binary(max_size=100))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    for parse in (lambda: list(rt.decode(data)), lambda: rt.parse_attributes(data)):
        with contextlib.suppress(ValueError):
            parse()


def test_an_answer_tells_its_error() -> None:
    refused = rt.encode(rt.ERROR, 0, 1, (-17).to_bytes(4, "little", signed=True))
    assert next(rt.decode(refused)).error == 17


def test_a_message_longer_than_its_datagram_is_refused() -> None:
    data = rt.encode(rt.GETLINK, rt.DUMP, 1, b"x" * 16)
    with pytest.raises(ValueError, match="longer"):
        list(rt.decode(data[:-1]))
