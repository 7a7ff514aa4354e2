"""The last bytes that a stream produced, for whoever joins later."""

from __future__ import annotations

from collections import deque
from typing import Final

_BLOCK: Final = 8 * 1024
"""Bytes up to which chunks are joined: what asyncio has received keeps a whole page of memory
each, and a serial console gives a few bytes at a time."""


class Replay:
    """At most `capacity` bytes of recent output, each chunk with the stream it came from."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chunks: deque[tuple[int, bytearray]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, stream: int, data: bytes) -> None:
        if len(data) >= self._capacity:
            self._chunks.clear()
            self._size = 0
            data = data[len(data) - self._capacity :]
        if not data:
            return
        newest = self._chunks[-1] if self._chunks else None
        if newest and newest[0] == stream and len(newest[1]) + len(data) <= _BLOCK:
            newest[1].extend(data)
        else:
            self._chunks.append((stream, bytearray(data)))
        self._size += len(data)
        while self._size > self._capacity:
            oldest, chunk = self._chunks.popleft()
            excess = self._size - self._capacity
            self._size -= min(excess, len(chunk))
            if excess < len(chunk):
                self._chunks.appendleft((oldest, chunk[excess:]))

    def recent(self, limit: int) -> list[tuple[int, bytes]]:
        """The newest `limit` bytes, oldest first; neighbours of one stream are joined."""
        skip = max(0, self._size - limit)
        joined: list[tuple[int, bytearray]] = []
        for stream, chunk in self._chunks:
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            if joined and joined[-1][0] == stream:
                joined[-1][1].extend(chunk[skip:])
            else:
                joined.append((stream, bytearray(chunk[skip:])))
            skip = 0
        return [(stream, bytes(chunk)) for stream, chunk in joined]

    def clear(self) -> None:
        self._chunks.clear()
        self._size = 0
