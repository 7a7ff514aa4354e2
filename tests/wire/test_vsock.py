"""Packets of virtio-vsock, their credit, and the hybrid socket's handshake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire import vsock
from vctui.wire.vsock import Credit, Header, VsockError

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))


def header(**fields: int) -> Header:
    usual = {"src_cid": 3, "dst_cid": 2, "src_port": 1, "dst_port": 2, "length": 0}
    return Header(**{**usual, "type": vsock.STREAM, "op": vsock.RW, **fields})


@given(st.builds(Header, U64, U64, U32, U32, U32, U16, U16, U32, U32, U32))
def test_headers_survive_the_way(given_header: Header):
    data = given_header.encode()
    assert len(data) == vsock.HEADER_SIZE == 44
    assert vsock.decode(data) == given_header


def test_a_short_header_is_refused():
    with pytest.raises(VsockError):
        vsock.decode(b"x" * 43)


@given(st.lists(st.tuples(st.sampled_from("rfsh"), st.integers(0, 70000)), max_size=60))
def test_credit_never_lets_more_be_on_the_way_than_there_is_room(steps: list[tuple[str, int]]):
    """Two ends of one connection, with counters that wrap around at once."""
    credit, room = Credit(65536), 50000
    credit._sent = credit._peer_forwarded = sent = taken = 2**32 - 1000
    credit.hear(header(buf_alloc=room, fwd_cnt=taken))
    held = 0
    for step, count in steps:
        if step == "s":
            count = min(count, credit.allowance)
            credit.sending(count)
            sent += count
        elif step == "h":
            taken += min(count, sent - taken)
            credit.hear(header(buf_alloc=room, fwd_cnt=taken % 2**32))
        elif step == "r":
            if held + count > credit.room:
                with pytest.raises(VsockError):
                    credit.received(count)
                return
            credit.received(count)
            held += count
        else:
            credit.freed(min(count, held))
            held -= min(count, held)
        assert 0 <= sent - taken <= room


@given(U32, U32)
def test_whatever_a_peer_says_of_its_room_the_allowance_is_within_it(room: int, forwarded: int):
    credit = Credit(1000)
    credit.sending(500)
    credit.hear(header(buf_alloc=room, fwd_cnt=forwarded))
    assert 0 <= credit.allowance <= room


def test_the_peer_is_told_when_it_may_think_that_half_of_the_room_is_gone():
    credit = Credit(1000)
    credit.received(600)
    credit.freed(499)
    assert not credit.is_worth_telling
    credit.freed(1)
    assert credit.is_worth_telling
    credit.telling()
    assert not credit.is_worth_telling


@given(U32)
def test_the_handshake_names_a_port(port: int):
    assert vsock.connect_port(vsock.connect_line(port)) == port
    assert vsock.is_ok(vsock.ok_line(port))


@pytest.mark.parametrize(
    "line", [b"", b"CONNECT\n", b"CONNECT x\n", b"CONNECT 4294967296\n", b"HI 1\n"]
)
def test_anything_else_is_refused(line: bytes):
    with pytest.raises(VsockError):
        vsock.connect_port(line)
    assert not vsock.is_ok(line)
