"""The device's side of a split virtqueue in a guest's memory (virtio 1.2, §2.7). Pure.

The guest is hostile, and changes what is read while it is read: every address, length and index is
read once, checked against the memory that there is, and a chain has an end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_SIZE: Final = 1024
"""Descriptors of a queue; QEMU gives 128."""

_NEXT: Final = 1
_WRITE: Final = 2
_INDIRECT: Final = 4
_DESCRIPTOR: Final = struct.Struct("<QIHH")
_USED: Final = struct.Struct("<II")
_INDEX: Final = struct.Struct("=H")
"""In the host's own order, which is the guest's, too: written and read in one piece."""
_RING: Final = 4
"""Bytes before the entries of the rings: flags and index."""
_WRAP: Final = 0x10000


class BadRing(Exception):
    """What the guest, or who speaks for it, says of its memory or queue cannot be."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Memory that is mapped."""

    guest: int
    """Its physical address in the guest."""
    user: int
    """Its address in the space of who runs the guest."""
    data: memoryview


class Memory:
    """The guest's memory, as far as it was given to us."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces = tuple(pieces)

    def guest(self, address: int, length: int) -> memoryview:
        """`length` bytes at a physical address of the guest. Raises BadRing."""
        for piece in self.pieces:
            start = address - piece.guest
            if start >= 0 and start + length <= len(piece.data):
                return piece.data[start : start + length]
        raise BadRing(f"{length} bytes at {address:#x} are not the guest's memory")

    def user(self, address: int, length: int) -> memoryview:
        """`length` bytes at an address that who runs the guest uses. Raises BadRing."""
        for piece in self.pieces:
            start = address - piece.user
            if start >= 0 and start + length <= len(piece.data):
                return piece.data[start : start + length]
        raise BadRing(f"{length} bytes at address {address:#x} are not shared with us")


@dataclass(frozen=True, slots=True)
class Chain:
    """One buffer, or what the guest has strung together as one."""

    head: int
    readable: tuple[memoryview, ...]
    writable: tuple[memoryview, ...]

    @property
    def room(self) -> int:
        return sum(len(each) for each in self.writable)

    def read(self, offset: int, length: int) -> bytes:
        """As many of `length` bytes from `offset` on as there are, copied at once."""
        out = bytearray()
        for each in self.readable:
            if offset < len(each):
                out += each[offset : offset + length - len(out)]
            offset = max(0, offset - len(each))
            if len(out) >= length:
                break
        return bytes(out)

    def write(self, data: bytes) -> int:
        """How much of `data` has found room."""
        done = 0
        for each in self.writable:
            part = data[done : done + len(each)]
            each[: len(part)] = part
            done += len(part)
        return done


class Queue:
    """
    Args:
        size: how many descriptors it has, a power of two.
        descriptors, available, used: where its parts are, as who runs the guest sees them.
        base: the index of the next available buffer.

    Raises:
        BadRing
    """

    def __init__(
        self,
        memory: Memory,
        *,
        size: int,
        descriptors: int,
        available: int,
        used: int,
        base: int = 0,
    ) -> None:
        if not 0 < size <= MAX_SIZE or size & (size - 1):
            raise BadRing(f"a queue cannot have {size} descriptors")
        if (descriptors % 16, available % 2, used % 4) != (0, 0, 0):
            raise BadRing("a queue is not aligned")
        self._memory = memory
        self._size = size
        self._descriptors = memory.user(descriptors, size * _DESCRIPTOR.size)
        self._available = memory.user(available, _RING + size * _INDEX.size)
        self._used = memory.user(used, _RING + size * _USED.size)
        self._next = base % _WRAP
        self._done: int = _INDEX.unpack_from(self._used, 2)[0]

    @property
    def base(self) -> int:
        """The index of the next available buffer."""
        return self._next

    def take(self) -> Chain | None:
        """The next buffer that the guest has made available. Raises BadRing."""
        there = (_INDEX.unpack_from(self._available, 2)[0] - self._next) % _WRAP
        if there == 0:
            return None
        if there > self._size:
            raise BadRing(f"{there} buffers in a queue of {self._size}")
        slot = self._next % self._size
        head: int = _INDEX.unpack_from(self._available, _RING + slot * _INDEX.size)[0]
        chain = self._chain(head)
        self._next = (self._next + 1) % _WRAP
        return chain

    def give(self, head: int, written: int) -> None:
        """Return a buffer, with the number of bytes that were written to it."""
        slot = self._done % self._size
        _USED.pack_into(self._used, _RING + slot * _USED.size, head, written)
        self._done = (self._done + 1) % _WRAP
        _INDEX.pack_into(self._used, 2, self._done)

    def _chain(self, head: int) -> Chain:
        readable: list[memoryview] = []
        writable: list[memoryview] = []
        number = head
        for _ in range(self._size):
            if number >= self._size:
                raise BadRing(f"descriptor {number} of {self._size}")
            address, length, flags, following = _DESCRIPTOR.unpack_from(
                self._descriptors, number * _DESCRIPTOR.size
            )
            if flags & _INDIRECT:
                raise BadRing("an indirect descriptor, which was not agreed on")
            part = self._memory.guest(address, length)
            if flags & _WRITE:
                writable.append(part)
            elif writable:
                raise BadRing("a readable descriptor after a writable one")
            else:
                readable.append(part)
            if not flags & _NEXT:
                return Chain(head, tuple(readable), tuple(writable))
            number = following
        raise BadRing("a chain of descriptors without an end")
