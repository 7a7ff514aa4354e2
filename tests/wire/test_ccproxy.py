"""cc-proxy's frames: what the sheet says, whatever the cutting, whatever a peer sends."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire import ccproxy
from vctui.wire.ccproxy import (
    CcProxyError,
    Command,
    Decoder,
    Frame,
    Notification,
    Stream,
    Type,
    encode,
)

FRAMES = st.one_of(
    st.builds(Frame, st.just(Type.COMMAND), st.sampled_from(list(map(int, Command))), st.binary()),
    st.builds(
        Frame,
        st.just(Type.RESPONSE),
        st.sampled_from(list(map(int, Command))),
        st.binary(),
        st.booleans(),
    ),
    st.builds(Frame, st.just(Type.STREAM), st.sampled_from(list(map(int, Stream))), st.binary()),
    st.builds(Frame, st.just(Type.NOTIFICATION), st.just(0), st.binary()),
)


def test_frames_are_what_the_sheet_says():
    assert encode(Frame(Type.COMMAND, Command.ATTACH_VM, b"{}")) == (
        bytes.fromhex("0002 03 000000 00 02 00000002") + b"{}"
    )
    assert encode(Frame(Type.RESPONSE, Command.HYPER, b"", is_error=True)) == bytes.fromhex(
        "0002 03 000000 11 03 00000000"
    )
    assert encode(Frame(Type.NOTIFICATION, Notification.PROCESS_EXITED, b"\7")) == (
        bytes.fromhex("0002 03 000000 03 00 00000001 07")
    )


@given(st.lists(FRAMES), st.lists(st.integers(1, 30), min_size=1))
def test_frames_survive_any_cutting(frames: list[Frame], sizes: list[int]):
    wire = b"".join(map(encode, frames))
    decoder = Decoder()
    found, at = [], 0
    while at < len(wire):
        size = sizes[at % len(sizes)]
        found += decoder.feed(wire[at : at + size])
        at += size
    assert found == frames


def test_a_longer_header_is_passed_over():
    wire = struct.pack(">HB3sBBI", 2, 5, bytes(3), 2, 1, 2) + b"\xff" * 8 + b"hi"
    assert list(Decoder().feed(wire)) == [Frame(Type.STREAM, Stream.STDOUT, b"hi")]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ((1, 3, bytes(3), 0, 0, 0), "version 1"),
        ((2, 2, bytes(3), 0, 0, 0), "too short"),
        ((2, 3, bytes(3), 4, 0, 0), "type 4"),
        ((2, 3, bytes(3), 0, 7, 0), "opcode 7"),
        ((2, 3, bytes(3), 2, 4, 0), "opcode 4"),
        ((2, 3, bytes(3), 3, 1, 0), "opcode 1"),
        ((2, 3, bytes(3), 2, 1, ccproxy.MAX_PAYLOAD + 1), "too long"),
    ],
)
def test_what_is_no_frame_is_one_error(header: tuple[int, int, bytes, int, int, int], why: str):
    with pytest.raises(CcProxyError, match=why):
        list(Decoder().feed(struct.pack(">HB3sBBI", *header)))


def test_what_no_peer_takes_is_not_sent():
    with pytest.raises(ValueError, match="do not fit"):
        encode(Frame(Type.STREAM, Stream.STDIN, bytes(ccproxy.MAX_PAYLOAD + 1)))


@given(st.lists(st.binary(max_size=64), max_size=30))
def test_whatever_comes_is_frames_or_one_error_and_little_is_kept(chunks: list[bytes]):
    decoder = Decoder(limit=256)
    try:
        for chunk in chunks:
            list(decoder.feed(chunk))
            assert len(decoder._buffer) < 256 + 4 * 255
    except CcProxyError:
        pass
