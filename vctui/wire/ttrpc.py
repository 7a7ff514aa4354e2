"""ttrpc framing: a 10-byte header, then protobuf (kata-agent ttrpc sheet, §1.1).

The guest's agent and the host's monitor share this module;
it imports little because every import costs emulated time in the guest.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

MAX_DATA: Final = 4 * 1024 * 1024
"""Bytes of data in one frame, header excluded."""

REQUEST: Final = 1
RESPONSE: Final = 2
DATA: Final = 3

REMOTE_CLOSED: Final = 0x01
REMOTE_OPEN: Final = 0x02
NO_DATA: Final = 0x04

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

_HEADER: Final = struct.Struct(">IIBB")
HEADER_SIZE: Final = _HEADER.size


class Frame:
    """One frame. `oversized` frames carry no data: the receiver has thrown it away."""

    __slots__ = ("data", "flags", "oversized", "stream_id", "type")

    def __init__(
        self, stream_id: int, type_: int, data: bytes = b"", flags: int = 0, *, oversized: int = 0
    ) -> None:
        self.stream_id = stream_id
        self.type = type_
        self.data = data
        self.flags = flags
        self.oversized = oversized
        """Length that the header gave, where it was over MAX_DATA."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and all(
            getattr(self, name) == getattr(other, name) for name in Frame.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"Frame({self.stream_id}, {self.type}, {len(self.data)} bytes, flags={self.flags:#x})"
        )


def encode(stream_id: int, type_: int, data: bytes = b"", flags: int = 0) -> bytes:
    """The bytes of one frame.

    Raises:
        ValueError: the data is longer than a peer accepts.
    """
    if len(data) > MAX_DATA:
        raise ValueError(f"{len(data)} bytes do not fit a ttrpc frame of {MAX_DATA}")
    return _HEADER.pack(len(data), stream_id, type_, flags) + data


NOT_YAMUX: Final = encode(0, RESPONSE)
"""What our agent answers to a yamux ping, from a host that does not know what it speaks. Streams
of ttrpc begin with 1."""


class Decoder:
    """Turns received bytes into frames; holds at most one frame's bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0

    @property
    def pending(self) -> bool:
        """Whether the beginning of a frame is there whose rest has not come."""
        return bool(self._buffer or self._skip)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that `chunk` completes.

        A frame whose length is over MAX_DATA is yielded at once as `oversized`
        and its data is skipped as it arrives.
        """
        buffer = self._buffer
        buffer += chunk
        while True:
            if self._skip:
                dropped = min(self._skip, len(buffer))
                del buffer[:dropped]
                self._skip -= dropped
            if len(buffer) < HEADER_SIZE:
                return
            length, stream_id, type_, flags = _HEADER.unpack_from(buffer)
            if length > MAX_DATA:
                del buffer[:HEADER_SIZE]
                self._skip = length
                yield Frame(stream_id, type_, b"", flags, oversized=length)
                continue
            end = HEADER_SIZE + length
            if len(buffer) < end:
                return
            data = bytes(buffer[HEADER_SIZE:end])
            del buffer[:end]
            yield Frame(stream_id, type_, data, flags)
