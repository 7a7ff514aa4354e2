"""hyperstart's frames: lengths include the header, and a peer's lies cost one error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vctui.wire import hyperstart
from vctui.wire.hyperstart import (
    Control,
    ControlDecoder,
    HyperstartError,
    Stream,
    StreamDecoder,
)

PAYLOADS = st.binary(max_size=500)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


def test_frames_are_what_the_sheet_says():
    assert hyperstart.encode_control(hyperstart.PING) == bytes.fromhex("0000000c 00000008")
    assert hyperstart.encode_control(hyperstart.START_POD, b"{}") == (
        bytes.fromhex("00000001 0000000a") + b"{}"
    )
    assert hyperstart.encode_stream(3, b"hi") == (
        bytes.fromhex("0000000000000003 0000000e") + b"hi"
    )


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), PAYLOADS)),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_commands_survive_any_cutting(messages: list[tuple[int, bytes]], sizes: list[int]):
    wire = b"".join(hyperstart.encode_control(*each) for each in messages)
    decoder = ControlDecoder()
    found = [one for piece in cut(wire, sizes) for one in decoder.feed(piece)]
    assert found == [Control(*each) for each in messages]


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), PAYLOADS)),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_streams_survive_any_cutting(messages: list[tuple[int, bytes]], sizes: list[int]):
    wire = b"".join(hyperstart.encode_stream(*each) for each in messages)
    decoder = StreamDecoder()
    found = [one for piece in cut(wire, sizes) for one in decoder.feed(piece)]
    assert found == [Stream(*each) for each in messages]


@given(st.binary(max_size=20000))
@example(b"x" * 12)
@example(b"x" * 499)
@example(b"x" * 1004)
def test_frames_of_input_are_whole_multiples_of_a_header_s_place(data: bytes):
    pieces = list(hyperstart.input_pieces(data))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= 500 for piece in pieces)
    ragged = [hyperstart.is_ragged(len(hyperstart.encode_stream(5, piece))) for piece in pieces]
    assert not any(ragged[:-1])
    assert not any(ragged) or len(data) % 4


@pytest.mark.parametrize("length", [0, 7, hyperstart.MAX_CONTROL + 1, 2**32 - 1])
def test_a_command_with_an_impossible_length_is_an_error(length: int):
    with pytest.raises(HyperstartError, match=str(length)):
        list(ControlDecoder().feed(struct.pack(">II", 10, length)))


@given(st.integers(257, 2000), st.lists(st.integers(1, 300), min_size=1), PAYLOADS)
def test_an_answer_that_is_too_long_is_a_refusal_and_the_next_is_found(
    length: int, sizes: list[int], payload: bytes
):
    payload = payload[:200]
    long = hyperstart.encode_control(hyperstart.ACK, bytes(length - 8))
    wire = long + hyperstart.encode_control(hyperstart.ACK, payload)
    decoder = ControlDecoder(limit=256)
    found = []
    for piece in cut(wire, sizes):
        found += decoder.feed(piece)
        assert len(decoder._buffer) < 256
    refusal = Control(hyperstart.ERROR, b"its answer has more than 256 bytes")
    assert found == [refusal, Control(hyperstart.ACK, payload)]


@given(st.binary(max_size=200))
def test_a_file_follows_its_json(data: bytes):
    told = b'{"container":"c","file":"/x"}'
    assert hyperstart.split_file(hyperstart.encode_file(told, data)) == (told, data)


@pytest.mark.parametrize("told", [b'{"file":"/a}b"}', b"{}}", b"{"])
def test_json_with_a_brace_within_is_followed_by_no_file(told: bytes):
    with pytest.raises(ValueError, match="brace"):
        hyperstart.encode_file(told, b"x")
    assert hyperstart.split_file(b'{"a"') == (b'{"a"', b"")


@pytest.mark.parametrize("length", [0, 11, hyperstart.MAX_STREAM + 1, 2**32 - 1])
def test_a_stream_frame_with_an_impossible_length_is_an_error(length: int):
    with pytest.raises(HyperstartError, match=str(length)):
        list(StreamDecoder().feed(struct.pack(">QI", 9, length)))


def test_what_a_peer_would_not_take_is_not_sent():
    with pytest.raises(ValueError, match="10240"):
        hyperstart.encode_control(1, bytes(hyperstart.MAX_SENT - 7))
    with pytest.raises(ValueError, match="4096"):
        hyperstart.encode_stream(1, bytes(hyperstart.MAX_STREAM_SENT - 11))


@given(st.lists(st.binary(max_size=64), max_size=30))
def test_whatever_comes_is_frames_or_one_error_and_little_is_kept(chunks: list[bytes]):
    for decoder in (ControlDecoder(limit=256), StreamDecoder(limit=256)):
        try:
            for chunk in chunks:
                list(decoder.feed(chunk))
                assert len(decoder._buffer) < 256
        except HyperstartError:
            pass
