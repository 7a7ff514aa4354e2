"""Container logs in CRI format: what goes in comes out, whatever its bytes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire import crilog

TIME_NS = 1_700_000_000_123_456_789


def _records(log: bytes) -> list[bytes]:
    return [record + b"\n" for record in log.split(b"\n")[:-1]]


def joined(log: bytes, stream: str) -> bytes:
    lines = [crilog.parse(record) for record in _records(log)]
    return b"".join(
        line.text + (b"" if line.partial else b"\n")
        for line in lines
        if line is not None and line.stream == stream
    )


def test_a_record_has_time_stream_tag_and_text():
    assert (
        crilog.encode("stdout", b"one\ntwo", TIME_NS)
        == b"2023-11-14T22:13:20.123456789Z stdout F one\n"
        b"2023-11-14T22:13:20.123456789Z stdout P two\n"
    )


def test_an_empty_chunk_is_no_record():
    assert crilog.encode("stdout", b"", TIME_NS) == b""


def test_a_record_is_parsed():
    line = crilog.parse(b"2023-11-14T22:13:20.123456789Z stderr P a b  c\n")
    assert line is not None
    assert line.time == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert (line.stream, line.partial, line.text) == ("stderr", True, b"a b  c")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\n",
        b"2023-11-14T22:13:20Z stdout F",
        b"2023-11-14T22:13:20Z stdin F x",
        b"2023-11-14T22:13:20Z stdout X x",
        b"yesterday stdout F x",
        b"2023-11-14T22:13:20.123 stdout F x",
        b"\xff stdout F x",
    ],
)
def test_other_lines_are_no_records(record):
    assert crilog.parse(record) is None


@given(st.lists(st.tuples(st.sampled_from(crilog.STREAMS), st.binary(max_size=60)), max_size=12))
def test_output_survives_encoding(chunks):
    log = b"".join(crilog.encode(stream, chunk, TIME_NS) for stream, chunk in chunks)
    for stream in crilog.STREAMS:
        written = b"".join(chunk for name, chunk in chunks if name == stream)
        assert joined(log, stream) == written


@given(st.binary(max_size=200))
def test_foreign_bytes_never_raise(record):
    crilog.parse(record)


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_times_are_read_back_to_the_microsecond(time_ns):
    time = crilog.parse_time(crilog.timestamp(time_ns))
    assert time is not None
    whole = time_ns // 1_000_000_000
    assert time == datetime.fromtimestamp(whole, UTC).replace(
        microsecond=time_ns % 1_000_000_000 // 1000
    )
