"""The log format of Kubernetes' container runtimes (CRI): `TIME STREAM TAG TEXT`.

TIME is RFC 3339 with nanoseconds, STREAM `stdout` or `stderr`, TAG `F` where the line is whole
and `P` where it goes on in the stream's next record. Encoding works on whole chunks, because a
busy container writes faster than a loop over its lines could be run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from vctui.model.logs import LogLine

STREAMS: Final = ("stdout", "stderr")
_STREAM_BYTES: Final = {name.encode(): name for name in STREAMS}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(time_ns: int) -> bytes:
    """RFC 3339 in UTC with nine digits of fraction; `time_ns` counts from the epoch."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    return b"%s.%09dZ" % (moment.strftime("%Y-%m-%dT%H:%M:%S").encode(), fraction)


def encode(stream: str, chunk: bytes, time_ns: int) -> bytes:
    """The records of a chunk of output, all of one time.

    What follows the chunk's last newline becomes a `P` record, which the stream's next chunk
    continues; nothing has to be remembered between two calls.
    """
    if not chunk:
        return b""
    head = timestamp(time_ns) + b" " + stream.encode() + b" "
    lines, newline, rest = chunk.rpartition(b"\n")
    records = b""
    if newline:
        whole = head + b"F "
        records = whole + lines.replace(b"\n", b"\n" + whole) + b"\n"
    if rest:
        records += head + b"P " + rest + b"\n"
    return records


def parse(record: bytes) -> LogLine | None:
    """One record, with or without its newline; None where it is none."""
    fields = record.removesuffix(b"\n").split(b" ", 3)
    if len(fields) != 4 or fields[2] not in {b"F", b"P"} or fields[1] not in _STREAM_BYTES:
        return None
    time = parse_time(fields[0])
    if time is None:
        return None
    return LogLine(
        text=fields[3], time=time, stream=_STREAM_BYTES[fields[1]], partial=fields[2] == b"P"
    )


def parse_time(field: bytes) -> datetime | None:
    """An RFC 3339 time with any number of fraction digits, to the microsecond below."""
    try:
        text = field.decode("ascii")
        whole, dot, rest = text.partition(".")
        if not dot:
            time = datetime.fromisoformat(text)
        else:
            digits = len(rest) - len(rest.lstrip("0123456789"))
            time = datetime.fromisoformat(f"{whole}.{rest[:digits]:0<6.6}{rest[digits:]}")
    except (ValueError, OverflowError):
        return None
    return time if time.tzinfo is not None else None
