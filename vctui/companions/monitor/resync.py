"""Find the beginning of a frame in a stream that was cut anywhere.

A monitor that takes over from a killed one may first receive the rest of a frame that its
predecessor had half read, and answers to calls that it never made. It sends one call with a
stream id of its own and reads on from the answer to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vctui.wire import ttrpc

_PROBE_ANSWER: Final = 4096
"""Bytes; the answer to a health check is a handful."""


class Resync:
    """A framer that skips everything before the answer to one of the streams `expect`ed."""

    def __init__(self) -> None:
        self._expected: set[bytes] = set()
        self._buffer = b""
        self._decoder: ttrpc.Decoder | None = None
        self.skipped = 0

    def expect(self, stream_id: int) -> None:
        """A short answer to `stream_id` may come."""
        self._expected.add(struct.pack(">IBB", stream_id, ttrpc.RESPONSE, 0))

    def feed(self, chunk: bytes) -> Iterator[ttrpc.Frame]:
        if self._decoder is None:
            self._buffer += chunk
            start = self._find()
            if start is None:
                keep = ttrpc.HEADER_SIZE - 1
                self.skipped += max(0, len(self._buffer) - keep)
                self._buffer = self._buffer[-keep:]
                return
            self.skipped += start
            self._decoder = ttrpc.Decoder()
            chunk, self._buffer = self._buffer[start:], b""
        yield from self._decoder.feed(chunk)

    def _find(self) -> int | None:
        """Where in the buffer the first frame that fits begins."""
        starts = []
        for rest_of_header in self._expected:
            at = self._buffer.find(rest_of_header, 4)
            while at >= 0:
                (length,) = struct.unpack_from(">I", self._buffer, at - 4)
                if length <= _PROBE_ANSWER:
                    starts.append(at - 4)
                    break
                at = self._buffer.find(rest_of_header, at + 1)
        return min(starts, default=None)
