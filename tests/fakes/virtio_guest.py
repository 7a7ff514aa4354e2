"""A guest's memory with virtqueues in it, and the driver's side of them."""

from __future__ import annotations

import struct

_DESCRIPTOR = struct.Struct("<QIHH")
NEXT, WRITE, INDIRECT = 1, 2, 4


class DriverQueue:
    """The driver's side of one split queue, at an offset in memory that guest and device share.

    Args:
        buffer: all of the memory.
        at: where the queue is in it, a multiple of 16.
        guest_base: the guest's physical address of the memory's first byte.
    """

    def __init__(
        self, buffer: memoryview, at: int, size: int, *, guest_base: int = 0, arena: int
    ) -> None:
        self.size = size
        self.descriptors = at
        self.available = at + size * 16
        self.used = (self.available + 4 + size * 2 + 3) // 4 * 4
        self.end = self.used + 4 + size * 8
        self._buffer = buffer
        self._base = guest_base
        self._arena = arena
        self._free = list(range(size))
        self._parts: dict[int, list[tuple[int, int, int]]] = {}
        self._seen = 0

    def describe(self, number: int, address: int, length: int, flags: int, following: int) -> None:
        """Write a descriptor as it is given, however wrong."""
        at = self.descriptors + number * 16
        _DESCRIPTOR.pack_into(self._buffer, at, address, length, flags, following)

    def offer(self, head: int) -> None:
        """Make a chain available."""
        (index,) = struct.unpack_from("<H", self._buffer, self.available + 2)
        struct.pack_into("<H", self._buffer, self.available + 4 + index % self.size * 2, head)
        struct.pack_into("<H", self._buffer, self.available + 2, (index + 1) % 65536)

    def post(self, data: bytes, *, split: int = 0) -> None:
        """Give the device something to read, in two descriptors where it is split."""
        parts = [data[:split], data[split:]] if 0 < split < len(data) else [data]
        numbers = [self._free.pop(0) for _ in parts]
        for place, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            address = self._arena + number * 70000
            self._buffer[address : address + len(part)] = part
            last = place == len(parts) - 1
            following = 0 if last else numbers[place + 1]
            flags = 0 if last else NEXT
            self.describe(number, self._base + address, len(part), flags, following)
        self._parts[numbers[0]] = [(number, 0, 0) for number in numbers]
        self.offer(numbers[0])

    def room(self, *lengths: int) -> None:
        """Give the device room to write, a descriptor for each length."""
        numbers = [self._free.pop(0) for _ in lengths]
        parts = []
        for place, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
            address = self._arena + number * 70000
            last = place == len(numbers) - 1
            flags = WRITE if last else WRITE | NEXT
            following = 0 if last else numbers[place + 1]
            self.describe(number, self._base + address, length, flags, following)
            parts.append((number, address, length))
        self._parts[numbers[0]] = parts
        self.offer(numbers[0])

    def returned(self) -> list[bytes]:
        """What the device has written into each chain that it gave back since."""
        (index,) = struct.unpack_from("<H", self._buffer, self.used + 2)
        found = []
        while self._seen != index:
            at = self.used + 4 + self._seen % self.size * 8
            head, written = struct.unpack_from("<II", self._buffer, at)
            data = b""
            for number, address, length in self._parts.pop(head):
                data += bytes(self._buffer[address : address + length])
                self._free.append(number)
            found.append(data[:written])
            self._seen = (self._seen + 1) % 65536
        return found
