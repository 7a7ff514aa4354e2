"""cc-proxy's frames, version 2 of its protocol (proxies-and-shims sheet, §3.2-§3.4).

Runtimes and shims send commands and standard input to the proxy; it answers, and sends output and
the end of a process. Payloads are JSON, raw bytes, or nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 2
MAX_PAYLOAD: Final = 4 * 1024 * 1024
"""Bytes of one frame that we take."""

_HEADER: Final = struct.Struct(">HB3sBBI")
_WORDS: Final = _HEADER.size // 4
_TYPE: Final = 0x0F
_ERROR: Final = 0x10


class Type(IntEnum):
    COMMAND = 0
    RESPONSE = 1
    STREAM = 2
    NOTIFICATION = 3


class Command(IntEnum):
    REGISTER_VM = 0
    UNREGISTER_VM = 1
    ATTACH_VM = 2
    HYPER = 3
    CONNECT_SHIM = 4
    DISCONNECT_SHIM = 5
    SIGNAL = 6


class Stream(IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    LOG = 3


class Notification(IntEnum):
    PROCESS_EXITED = 0


_OPCODES: Final = {
    Type.COMMAND: len(Command),
    Type.RESPONSE: len(Command),
    Type.STREAM: len(Stream),
    Type.NOTIFICATION: len(Notification),
}


_KINDS: Final = frozenset(int(kind) for kind in Type)


class CcProxyError(ValueError):
    """The peer sent what is no frame; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Frame:
    type: Type
    opcode: int
    payload: bytes = b""
    is_error: bool = False
    """Of a response: the payload is `{"msg": text}`."""


def encode(frame: Frame) -> bytes:
    """One frame, to be written at once: a cc-proxy wants the header in a single read(2).

    Raises:
        ValueError: the payload is longer than a peer takes.
    """
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(frame.payload)} bytes do not fit a frame of {MAX_PAYLOAD}")
    flags = frame.type | (_ERROR if frame.is_error else 0)
    header = _HEADER.pack(VERSION, _WORDS, bytes(3), flags, frame.opcode, len(frame.payload))
    return header + frame.payload


class Decoder:
    """Received bytes → frames; holds at most one."""

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """
        Raises:
            CcProxyError: another version, an unknown type or opcode, or too long a frame.
        """
        buffer = self._buffer
        buffer += chunk
        while len(buffer) >= _HEADER.size:
            version, words, _, flags, opcode, length = _HEADER.unpack_from(buffer)
            if version != VERSION:
                raise CcProxyError(f"version {version} of the protocol is not spoken here")
            if words < _WORDS:
                raise CcProxyError(f"a header of {words} words is too short")
            if length > self._limit:
                raise CcProxyError(f"a frame of {length} bytes is too long")
            kind = flags & _TYPE
            if kind not in _KINDS or opcode >= _OPCODES[Type(kind)]:
                raise CcProxyError(f"there is no frame of type {kind} and opcode {opcode}")
            end = 4 * words + length
            if len(buffer) < end:
                return
            payload = bytes(buffer[4 * words : end])
            del buffer[:end]
            yield Frame(Type(kind), opcode, payload, bool(flags & _ERROR))
