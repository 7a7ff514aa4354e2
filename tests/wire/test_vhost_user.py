"""vhost-user's messages, as QEMU sends them and as a hostile one might."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire import vhost_user
from vctui.wire.vhost_user import Reader, Region, Request, VhostUserError


def read(data: bytes, pieces: list[int]) -> list[vhost_user.Message]:
    """As from a socket that gives at most what is wanted, in pieces of these sizes."""
    reader, found, at = Reader(), [], 0
    sizes = iter([*pieces, *[1 << 20] * (len(data) + 1)])
    while at < len(data):
        size = max(1, min(next(sizes), reader.wanted))
        if (message := reader.feed(data[at : at + size])) is not None:
            found.append(message)
        at += size
    return found


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=200), st.booleans())),
    st.lists(st.integers(1, 50), max_size=20),
)
def test_messages_are_read_whole_however_they_come(messages, pieces: list[int]):
    data = b"".join(
        vhost_user.encode(request, body, wants_reply=wants) for request, body, wants in messages
    )
    found = read(data, pieces)
    assert [(one.request, one.body, one.wants_reply) for one in found] == messages


@given(st.binary(max_size=400))
def test_any_bytes_are_messages_or_refused(data: bytes):
    reader, at = Reader(), 0
    try:
        while at < len(data):
            size = min(reader.wanted, len(data) - at)
            assert 0 < reader.wanted <= vhost_user.MAX_BODY + 12
            reader.feed(data[at : at + size])
            at += size
    except VhostUserError:
        pass


def test_long_and_unknown_messages_are_refused():
    with pytest.raises(VhostUserError, match="5000 bytes"):
        Reader().feed(struct.pack("<III", 1, 1, 5000))
    with pytest.raises(VhostUserError, match="flags 0x2"):
        Reader().feed(struct.pack("<III", 1, 2, 0))
    with pytest.raises(VhostUserError, match="more than the 12"):
        Reader().feed(b"x" * 13)


@pytest.mark.parametrize(
    "parse",
    [
        vhost_user.parse_u64,
        vhost_user.parse_state,
        vhost_user.parse_descriptor,
        vhost_user.parse_addresses,
        vhost_user.parse_table,
        vhost_user.parse_region,
        lambda body: vhost_user.answer_config(body, b"12345678"),
    ],
)
@given(body=st.binary(max_size=400))
def test_any_body_is_understood_or_refused(parse, body: bytes):
    with contextlib.suppress(VhostUserError):
        parse(body)


def test_tables_of_memory_are_read():
    region = Region(guest=1 << 32, size=4096, user=5, offset=7)
    packed = struct.pack("<QQQQ", 1 << 32, 4096, 5, 7)
    assert vhost_user.parse_table(struct.pack("<II", 2, 0) + packed * 2) == (region, region)
    assert vhost_user.parse_region(bytes(8) + packed) == region
    with pytest.raises(VhostUserError, match="a table of 9 regions"):
        vhost_user.parse_table(struct.pack("<II", 9, 0) + packed * 9)


def test_a_descriptor_may_be_said_not_to_come():
    assert vhost_user.parse_descriptor(vhost_user.u64(1)) == (1, True)
    assert vhost_user.parse_descriptor(vhost_user.u64(0x101)) == (1, False)


def test_the_configuration_is_given_as_far_as_it_goes():
    config = vhost_user.u64(3)
    asked = struct.pack("<III", 0, 8, 0) + bytes(8)
    assert vhost_user.answer_config(asked, config) == struct.pack("<III", 0, 8, 0) + config
    beyond = struct.pack("<III", 4, 8, 0) + bytes(8)
    assert vhost_user.answer_config(beyond, config) == struct.pack("<III", 4, 0, 0)


def test_an_answer_is_marked_as_one():
    (version, flags, size) = struct.unpack_from(
        "<III", vhost_user.encode(Request.GET_FEATURES, b"12345678", reply=True)
    )
    assert (version, flags & 7, size) == (1, 5, 8)
