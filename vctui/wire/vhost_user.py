"""vhost-user: how QEMU hands a device of its machine over to another program (QEMU's documentation,
interop/vhost-user). Pure: messages as bytes.

Descriptors travel beside a message; how many it must have is told here, too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VIRTIO_1: Final = 1 << 32
"""Feature of the device: the protocol of virtio 1.0 and later."""
PROTOCOL_FEATURES: Final = 1 << 30
"""Feature of the device: the two sides agree on features of this protocol, too."""

REPLY_ACK: Final = 1 << 3
CONFIG: Final = 1 << 9
CONFIGURE_MEM_SLOTS: Final = 1 << 15

MAX_BODY: Final = 4096
MAX_DESCRIPTORS: Final = 8
MAX_TABLE: Final = 8
"""Regions of memory in one SET_MEM_TABLE."""

_VERSION: Final = 1
_REPLY: Final = 1 << 2
_NEED_REPLY: Final = 1 << 3
_NO_DESCRIPTOR: Final = 1 << 8
_HEADER: Final = struct.Struct("<III")
_U64: Final = struct.Struct("<Q")
_STATE: Final = struct.Struct("<II")
_ADDRESSES: Final = struct.Struct("<IIQQQQ")
_COUNT: Final = struct.Struct("<II")
_REGION: Final = struct.Struct("<QQQQ")
_CONFIG: Final = struct.Struct("<III")


class Request(IntEnum):
    """Those that a device without special needs is sent."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    SET_VRING_ENABLE = 18
    GET_CONFIG = 24
    SET_CONFIG = 25
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38


class VhostUserError(Exception):
    """The other side does not keep to the protocol."""


@dataclass(frozen=True, slots=True)
class Message:
    request: int
    body: bytes
    wants_reply: bool
    """The sender waits for an acknowledgement where the request has no answer of its own."""


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of the guest's memory."""

    guest: int
    """Physical address in the guest."""
    size: int
    user: int
    """Address in the sender's own space, which it names rings by."""
    offset: int
    """In the file whose descriptor comes beside the message."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a ring are, in the sender's own space."""

    index: int
    descriptors: int
    used: int
    available: int


class Reader:
    """Takes exactly the bytes that are wanted next, so that descriptors stay with their message."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._wanted = _HEADER.size

    @property
    def wanted(self) -> int:
        return self._wanted - len(self._data)

    def feed(self, data: bytes) -> Message | None:
        """The message that `data` completes. Raises VhostUserError."""
        if len(data) > self.wanted:
            raise VhostUserError(f"{len(data)} bytes are more than the {self.wanted} that follow")
        self._data += data
        if self.wanted:
            return None
        request, flags, size = _HEADER.unpack_from(self._data)
        if self._wanted == _HEADER.size:
            if flags & 3 != _VERSION or size > MAX_BODY:
                raise VhostUserError(f"a message has flags {flags:#x} and {size} bytes")
            if size:
                self._wanted += size
                return None
        body = bytes(self._data[_HEADER.size :])
        self._data.clear()
        self._wanted = _HEADER.size
        return Message(request, body, bool(flags & _NEED_REPLY))


def encode(
    request: int, body: bytes = b"", *, reply: bool = False, wants_reply: bool = False
) -> bytes:
    flags = _VERSION | (_REPLY if reply else 0) | (_NEED_REPLY if wants_reply else 0)
    return _HEADER.pack(request, flags, len(body)) + body


def u64(value: int) -> bytes:
    return _U64.pack(value)


def state(index: int, number: int) -> bytes:
    return _STATE.pack(index, number)


def parse_u64(body: bytes) -> int:
    value: int = _parse(_U64, body)[0]
    return value


def parse_state(body: bytes) -> tuple[int, int]:
    """A ring's index, and a number. Raises VhostUserError, as all of these do."""
    index, number = _parse(_STATE, body)
    return index, number


def parse_descriptor(body: bytes) -> tuple[int, bool]:
    """A ring's index, and whether a descriptor comes beside the message."""
    value = parse_u64(body)
    return value & 0xFF, not value & _NO_DESCRIPTOR


def parse_addresses(body: bytes) -> Addresses:
    index, _flags, descriptors, used, available, _log = _parse(_ADDRESSES, body)
    return Addresses(index, descriptors, used, available)


def parse_table(body: bytes) -> tuple[Region, ...]:
    if len(body) < _COUNT.size:
        raise VhostUserError(f"a table of memory has {len(body)} bytes")
    count = _COUNT.unpack_from(body)[0]
    if count > MAX_TABLE or len(body) < _COUNT.size + count * _REGION.size:
        raise VhostUserError(f"a table of {count} regions of memory has {len(body)} bytes")
    return tuple(
        Region(*_REGION.unpack_from(body, _COUNT.size + number * _REGION.size))
        for number in range(count)
    )


def parse_region(body: bytes) -> Region:
    """Of ADD_MEM_REG and REM_MEM_REG."""
    if len(body) != _U64.size + _REGION.size:
        raise VhostUserError(f"a region of memory has {len(body)} bytes")
    return Region(*_REGION.unpack_from(body, _U64.size))


def answer_config(body: bytes, config: bytes) -> bytes:
    """The answer to GET_CONFIG: what it asks for of the device's configuration; without that where
    there is not so much."""
    if len(body) < _CONFIG.size:
        raise VhostUserError(f"a request for the configuration has {len(body)} bytes")
    offset, size, flags = _CONFIG.unpack_from(body)
    if offset + size > len(config):
        return _CONFIG.pack(offset, 0, flags)
    return _CONFIG.pack(offset, size, flags) + config[offset : offset + size]


def _parse(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) != layout.size:
        raise VhostUserError(f"a message has {len(body)} bytes instead of {layout.size}")
    return layout.unpack(body)
