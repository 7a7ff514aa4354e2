"""A small switch in user space: it serves one vhost-user card, and has a tap for its other port.

As QEMU's document of the protocol has it (docs/interop/vhost-user), with the least that a front-end
may find: no protocol feature, one pair of queues, split rings. Packets really pass. A program:
`vhost_user.py SOCKET TAP`, in the tap's network namespace; it serves one front-end after another.
"""

from __future__ import annotations

import array
import contextlib
import mmap
import os
import select
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from vctui.linux import taps

FEATURES: Final = 1 << 32 | 1 << 30
"""VIRTIO_F_VERSION_1: a packet's header has 12 bytes. And that there may be protocol features, for
want of which QEMU 7.2 starts no card."""
TO_GUEST, FROM_GUEST = 0, 1
"""The rings."""


class Request(IntEnum):
    """What we do something for; all others need no answer."""

    GET_FEATURES = 1
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    GET_PROTOCOL_FEATURES = 15


_HEADER: Final = struct.Struct("<III")
_REPLY: Final = 0x1 | 0x4
_STATE: Final = struct.Struct("<II")
_NUMBER: Final = struct.Struct("<Q")
_REGION: Final = struct.Struct("<QQQQ")
_ADDRESSES: Final = struct.Struct("<IIQQQQ")
_DESCRIPTOR: Final = struct.Struct("<QIHH")
_USED: Final = struct.Struct("<II")
_SHORT: Final = struct.Struct("<H")
_MORE, _WRITABLE = 1, 2
_PACKET: Final = struct.Struct("<10xH")
"""The header of a packet: nothing is offloaded, and how many buffers it fills."""
_TAP_HEADER: Final = bytes(10)
_FRAME: Final = 65536


class Gone(Exception):
    """The front-end has left."""


@dataclass
class Region:
    """A piece of the guest's memory."""

    guest: int
    size: int
    front: int
    """Where the front-end has it."""
    memory: mmap.mmap
    offset: int


@dataclass
class Ring:
    size: int = 0
    descriptors: int = 0
    used: int = 0
    available: int = 0
    """Where the front-end has these three."""
    next: int = 0
    kick: int = -1
    call: int = -1


@dataclass
class Card:
    """The connection with one front-end."""

    connection: socket.socket
    tap: int
    regions: list[Region] = field(default_factory=list)
    rings: tuple[Ring, Ring] = field(default_factory=lambda: (Ring(), Ring()))

    def serve(self) -> None:
        """Returns when the front-end has left."""
        asked = self.connection.fileno()
        with contextlib.suppress(Gone, ConnectionError):
            while True:
                kick = self.rings[FROM_GUEST].kick
                sources = [asked, self.tap, kick] if kick >= 0 else [asked, self.tap]
                ready = select.select(sources, [], [])[0]
                if kick in ready:
                    os.read(kick, 8)
                    self._take()
                if self.tap in ready:
                    self._give(os.read(self.tap, _FRAME)[len(_TAP_HEADER) :])
                if asked in ready:
                    self._hear()

    def close(self) -> None:
        for ring in self.rings:
            _close(ring.kick, ring.call)
        for region in self.regions:
            region.memory.close()

    def _hear(self) -> None:
        room = socket.CMSG_SPACE(8 * 4)
        header, extra, _, _ = self.connection.recvmsg(_HEADER.size, room)
        if len(header) < _HEADER.size:
            raise Gone
        fds = array.array("i")
        for _, _, data in extra:
            fds.frombytes(data)
        request, _, size = _HEADER.unpack(header)
        body = self.connection.recv(size, socket.MSG_WAITALL) if size else b""
        if len(body) < size:
            raise Gone
        if answer := self._do(request, body, fds):
            self.connection.sendall(_HEADER.pack(request, _REPLY, len(answer)) + answer)

    def _do(self, request: int, body: bytes, fds: Sequence[int]) -> bytes:
        match request:
            case Request.GET_FEATURES:
                return _NUMBER.pack(FEATURES)
            case Request.GET_PROTOCOL_FEATURES:
                return _NUMBER.pack(0)
            case Request.SET_MEM_TABLE:
                self._map(body, fds)
            case Request.SET_VRING_NUM:
                index, size = _STATE.unpack(body)
                self.rings[index].size = size
            case Request.SET_VRING_ADDR:
                index, _, descriptors, used, available, _ = _ADDRESSES.unpack(body)
                ring = self.rings[index]
                ring.descriptors, ring.used, ring.available = descriptors, used, available
            case Request.SET_VRING_BASE:
                index, base = _STATE.unpack(body)
                self.rings[index].next = base
            case Request.GET_VRING_BASE:
                index, _ = _STATE.unpack(body)
                ring = self.rings[index]
                _close(ring.kick)
                ring.kick = -1
                return _STATE.pack(index, ring.next)
            case Request.SET_VRING_KICK | Request.SET_VRING_CALL:
                ring = self.rings[_NUMBER.unpack(body)[0] & 0xFF]
                what = "kick" if request == Request.SET_VRING_KICK else "call"
                _close(getattr(ring, what))
                setattr(ring, what, fds[0] if fds else -1)
        return b""

    def _map(self, body: bytes, fds: Sequence[int]) -> None:
        for region in self.regions:
            region.memory.close()
        self.regions = []
        for number, fd in enumerate(fds):
            guest, size, front, offset = _REGION.unpack_from(body, 8 + number * _REGION.size)
            self.regions.append(Region(guest, size, front, mmap.mmap(fd, size + offset), offset))
            _close(fd)

    def _at(self, address: int, *, front: bool) -> tuple[mmap.mmap, int]:
        """The memory at an address of the guest, or of the front-end."""
        for region in self.regions:
            begin = region.front if front else region.guest
            if begin <= address < begin + region.size:
                return region.memory, address - begin + region.offset
        raise Gone

    def _chain(self, ring: Ring) -> tuple[int, list[tuple[mmap.mmap, int, int]]] | None:
        """The next buffer of the ring: its number and its pieces; None where there is none."""
        memory, at = self._at(ring.available, front=True)
        if _SHORT.unpack_from(memory, at + 2)[0] == ring.next:
            return None
        head = _SHORT.unpack_from(memory, at + 4 + ring.next % ring.size * 2)[0]
        table, begin = self._at(ring.descriptors, front=True)
        pieces, number, flags = [], head, _MORE
        while flags & _MORE:
            place = begin + number * _DESCRIPTOR.size
            address, length, flags, number = _DESCRIPTOR.unpack_from(table, place)
            pieces.append((*self._at(address, front=False), length))
        ring.next = (ring.next + 1) & 0xFFFF
        return head, pieces

    def _done(self, ring: Ring, head: int, written: int) -> None:
        memory, at = self._at(ring.used, front=True)
        index = _SHORT.unpack_from(memory, at + 2)[0]
        _USED.pack_into(memory, at + 4 + index % ring.size * _USED.size, head, written)
        _SHORT.pack_into(memory, at + 2, (index + 1) & 0xFFFF)
        if ring.call >= 0:
            os.write(ring.call, _NUMBER.pack(1))

    def _take(self) -> None:
        """Send on what the guest has sent."""
        ring = self.rings[FROM_GUEST]
        while chain := self._chain(ring):
            head, pieces = chain
            said = b"".join(memory[at : at + length] for memory, at, length in pieces)
            os.write(self.tap, _TAP_HEADER + said[_PACKET.size :])
            self._done(ring, head, 0)

    def _give(self, frame: bytes) -> None:
        """Put a frame into the guest; one that it has no room for is lost, as on any wire."""
        ring = self.rings[TO_GUEST]
        if ring.kick < 0 or (chain := self._chain(ring)) is None:
            return
        head, pieces = chain
        rest = _PACKET.pack(1) + frame
        for memory, at, length in pieces:
            memory[at : at + len(rest[:length])] = rest[:length]
            rest = rest[length:]
        self._done(ring, head, _PACKET.size + len(frame) - len(rest))


def main(arguments: Sequence[str]) -> int:
    path, name = arguments
    (tap,) = taps.open_tap(name, 1)
    with socket.socket(socket.AF_UNIX) as server:
        Path(path).unlink(missing_ok=True)
        server.bind(path)
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            with connection:
                card = Card(connection, tap)
                card.serve()
                card.close()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
