"""virtio-vsock: packets between host and guest, their credit, and the hybrid socket's handshake
(virtio 1.2, §5.10; kata-agent ttrpc sheet, §1.3). Pure."""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

HOST: Final = 2
"""The host's context id."""
AGENT_PORT: Final = 1024
"""Where agents listen in their guest."""

STREAM: Final = 1

REQUEST: Final = 1
RESPONSE: Final = 2
RST: Final = 3
SHUTDOWN: Final = 4
RW: Final = 5
CREDIT_UPDATE: Final = 6
CREDIT_REQUEST: Final = 7

NO_RECEIVE: Final = 1
"""Flag of SHUTDOWN: the sender takes no more."""
NO_SEND: Final = 2
"""Flag of SHUTDOWN: the sender gives no more."""

_HEADER: Final = struct.Struct("<QQIIIHHIII")
HEADER_SIZE: Final = _HEADER.size
MAX_PAYLOAD: Final = 64 * 1024
_COUNT: Final = 1 << 32
"""Counters of bytes wrap around here."""

MAX_LINE: Final = 32
"""Bytes of a line of the handshake."""
_CONNECT: Final = re.compile(rb"CONNECT ([0-9]{1,10})\r?\n?")


class VsockError(Exception):
    """The other side does not keep to the protocol."""


class Header(NamedTuple):
    src_cid: int
    dst_cid: int
    src_port: int
    dst_port: int
    length: int
    """Bytes of payload that follow."""
    type: int
    op: int
    flags: int = 0
    buf_alloc: int = 0
    """Bytes that the sender has room for, in all."""
    fwd_cnt: int = 0
    """Bytes that the sender has taken out of that room so far."""

    def encode(self) -> bytes:
        return _HEADER.pack(*self)


def decode(data: bytes) -> Header:
    """Raises VsockError."""
    if len(data) != HEADER_SIZE:
        raise VsockError(f"a packet's header has {len(data)} bytes")
    return Header(*_HEADER.unpack(data))


class Credit:
    """Who may send how much on a connection.

    Args:
        room: bytes that we have room for.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.forwarded = 0
        """What was taken out of our room so far."""
        self._received = 0
        self._told = 0
        self._sent = 0
        self._peer_room = 0
        self._peer_forwarded = 0

    def hear(self, header: Header) -> None:
        """Every packet says what its sender has room for."""
        self._peer_room = header.buf_alloc
        self._peer_forwarded = header.fwd_cnt

    @property
    def allowance(self) -> int:
        """Bytes that we may send now."""
        on_the_way = (self._sent - self._peer_forwarded) % _COUNT
        return max(0, self._peer_room - on_the_way)

    def sending(self, count: int) -> None:
        self._sent = (self._sent + count) % _COUNT

    def received(self, count: int) -> None:
        """Raises VsockError for more than there was room for."""
        self._received = (self._received + count) % _COUNT
        if (self._received - self.forwarded) % _COUNT > self.room:
            raise VsockError("more was sent than there was room for")

    def freed(self, count: int) -> None:
        self.forwarded = (self.forwarded + count) % _COUNT

    def telling(self) -> None:
        """A packet leaves, which says what was forwarded."""
        self._told = self.forwarded

    @property
    def is_worth_telling(self) -> bool:
        """The peer takes our room for half as large as it is, or less."""
        return (self.forwarded - self._told) % _COUNT >= self.room // 2


def connect_line(port: int) -> bytes:
    """What a client of the hybrid socket says first."""
    return b"CONNECT %d\n" % port


def connect_port(line: bytes) -> int:
    """The port that a client wants. Raises VsockError."""
    found = _CONNECT.fullmatch(line)
    if found is None or (port := int(found[1])) >= 1 << 32:
        raise VsockError("a client does not say CONNECT and a port")
    return port


def ok_line(port: int) -> bytes:
    """The answer to a client whose connection stands; `port` is its own."""
    return b"OK %d\n" % port


def is_ok(line: bytes) -> bool:
    return b"OK" in line and line.endswith(b"\n")
