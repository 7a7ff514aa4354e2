"""hyperstart's two channels (hyperstart sheet, §1, §2, §5): commands, and the processes' streams.

Host and guest share this module; it imports little because every import costs emulated time in
the guest. Lengths on the wire include the header.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

CONTROL_PORT: Final = "sh.hyper.channel.0"
STREAM_PORT: Final = "sh.hyper.channel.1"

GET_VERSION: Final = 0
START_POD: Final = 1
DESTROY_POD: Final = 4
EXEC_COMMAND: Final = 6
READY: Final = 8
ACK: Final = 9
ERROR: Final = 10
WINDOW_SIZE: Final = 11
PING: Final = 12
NEXT: Final = 14
WRITE_FILE: Final = 15
READ_FILE: Final = 16
NEW_CONTAINER: Final = 17
KILL_CONTAINER: Final = 18
ONLINE_CPU_MEM: Final = 19
SETUP_INTERFACE: Final = 20
SETUP_ROUTE: Final = 21
REMOVE_CONTAINER: Final = 22
PS_CONTAINER: Final = 23
"""With Clear Containers' agent; hyperstart itself means PROCESS_ENDED by this number."""
PROCESS_ENDED: Final = 23
"""From hyperstart 0.8 (API 4243) on: an event from the guest, never an answer."""
SIGNAL_PROCESS: Final = 24
DELETE_INTERFACE: Final = 25

COMMANDS: Final = {
    "version": GET_VERSION,
    "startpod": START_POD,
    "destroypod": DESTROY_POD,
    "execcmd": EXEC_COMMAND,
    "ping": PING,
    "writefile": WRITE_FILE,
    "readfile": READ_FILE,
    "newcontainer": NEW_CONTAINER,
    "killcontainer": KILL_CONTAINER,
    "onlinecpumem": ONLINE_CPU_MEM,
    "setupinterface": SETUP_INTERFACE,
    "setuproute": SETUP_ROUTE,
    "removecontainer": REMOVE_CONTAINER,
    "pscontainer": PS_CONTAINER,
    "signalprocess": SIGNAL_PROCESS,
    "deleteinterface": DELETE_INTERFACE,
}
"""By the names that virtcontainers has for them; it has none for the last two."""
SERVICE: Final = "vctui.Hyperstart"
"""Of the pod's monitor: its methods are these names."""
API_EVENTS: Final = 4243
"""From this version on the end of a process is an event, and processes are known by ids."""

MAX_SENT: Final = 10240
"""Bytes of a frame, header included, that every peer takes."""
ALIGNED: Final = 16
"""Bytes; the next power of two that a stream's header fits into."""
_FITTING: Final = 4
"""Bytes of data that fill a header up to ALIGNED."""
_INPUT: Final = 500
MAX_STREAM_SENT: Final = 4096
"""The same for stream frames over a serial port: more ends hyperstart's event loop."""
MAX_CONTROL: Final = 4 * 1024 * 1024 - 4096
"""Bytes of a command's answer that we take, a file or a list of processes: it fits the ttrpc frame
that passes it on."""
MAX_FILE: Final = MAX_CONTROL - 8
"""Bytes of a file that READ_FILE gives."""
MAX_STREAM: Final = 1024 * 1024

_CONTROL: Final = struct.Struct(">II")
_STREAM: Final = struct.Struct(">QI")


class HyperstartError(ValueError):
    """The peer sent a length that cannot be; where the next frame begins is not known."""


class Control:
    """A command, an answer, or an event."""

    __slots__ = ("command", "payload")

    def __init__(self, command: int, payload: bytes = b"") -> None:
        self.command = command
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Control) and (self.command, self.payload) == (
            other.command,
            other.payload,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Control({self.command}, {self.payload[:80]!r})"


class Stream:
    """Bytes of one stream; none of them means its end."""

    __slots__ = ("data", "sequence")

    def __init__(self, sequence: int, data: bytes = b"") -> None:
        self.sequence = sequence
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.sequence, self.data) == (
            other.sequence,
            other.data,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Stream({self.sequence}, {len(self.data)} bytes)"


def encode_control(command: int, payload: bytes = b"", *, limit: int = MAX_SENT) -> bytes:
    """
    Raises:
        ValueError: it is longer than `limit`, which the peer would not take.
    """
    length = _CONTROL.size + len(payload)
    if length > limit:
        raise ValueError(f"a command of {length} bytes is over hyperstart's limit of {limit}")
    return _CONTROL.pack(command, length) + payload


def encode_stream(sequence: int, data: bytes = b"", *, limit: int = MAX_STREAM_SENT) -> bytes:
    """
    Raises:
        ValueError: it is longer than `limit`.
    """
    length = _STREAM.size + len(data)
    if length > limit:
        raise ValueError(f"a stream frame of {length} bytes is over the limit of {limit}")
    return _STREAM.pack(sequence, length) + data


def input_pieces(data: bytes) -> Iterator[bytes]:
    """Input in pieces for one frame each. The frames are multiples of ALIGNED bytes long, but for
    the last one where `data` is no multiple of four bytes long; see `is_ragged`.

    hyperstart has room for 512 bytes of input and drops what is over.
    """
    at = 0
    while len(rest := data[at : at + _INPUT]) == _INPUT:
        yield rest
        at += _INPUT
    while rest:
        fits = len(rest) % 4 or len(rest) % ALIGNED == _FITTING
        taken = len(rest) if fits else (len(rest) - _FITTING - 1) // ALIGNED * ALIGNED + _FITTING
        yield rest[:taken]
        rest = rest[taken:]


def is_ragged(frame_size: int) -> bool:
    """Whether the next frame must not be sent before the guest's port has taken this one.

    Clear Containers' agent wants a header from one read(2) (sheet, §1.2, §9), and a port gives no
    more at once than is left in one of its buffers of 4096 bytes. Where frames begin at multiples
    of ALIGNED, no buffer ends within a header.
    """
    return frame_size % ALIGNED != 0


def encode_file(told: bytes, data: bytes) -> bytes:
    """The payload of WRITE_FILE: its JSON, and what is to be in the file.

    Raises:
        ValueError: the JSON has a brace within, which peers would take for its end.
    """
    if told.find(b"}") != len(told) - 1:
        raise ValueError("a name with a brace cannot be told to hyperstart")
    return told + data


def split_file(payload: bytes) -> tuple[bytes, bytes]:
    """The reverse of `encode_file`."""
    told, brace, data = payload.partition(b"}")
    return told + brace, data


class ControlDecoder:
    """Received bytes → Control; holds at most one frame.

    An answer over the limit is passed by and told as a refusal: the guest's files and lists are as
    long as they are, and the next answer is to be found behind.
    """

    def __init__(self, limit: int = MAX_CONTROL) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._passing = 0

    def feed(self, chunk: bytes) -> Iterator[Control]:
        """
        Raises:
            HyperstartError: a length is shorter than a header, or over the limit and no answer's.
        """
        self._buffer += chunk
        while self._passing or len(self._buffer) >= _CONTROL.size:
            if self._passing:
                passed = min(self._passing, len(self._buffer))
                del self._buffer[:passed]
                self._passing -= passed
                if self._passing:
                    return
                yield Control(ERROR, f"its answer has more than {self._limit} bytes".encode())
                continue
            command, length = _CONTROL.unpack_from(self._buffer)
            if command == ACK and length > self._limit:
                self._passing = length
                continue
            payload = _body(self._buffer, _CONTROL.size, length, self._limit)
            if payload is None:
                return
            yield Control(command, payload)


class StreamDecoder:
    """Received bytes → Stream; holds at most one frame."""

    def __init__(self, limit: int = MAX_STREAM) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, chunk: bytes) -> Iterator[Stream]:
        """
        Raises:
            HyperstartError: a length is shorter than a header or over the limit.
        """
        self._buffer += chunk
        while len(self._buffer) >= _STREAM.size:
            sequence, length = _STREAM.unpack_from(self._buffer)
            data = _body(self._buffer, _STREAM.size, length, self._limit)
            if data is None:
                return
            yield Stream(sequence, data)


def _body(buffer: bytearray, header: int, length: int, limit: int) -> bytes | None:
    """Take a whole frame off the buffer; None while there is none."""
    if not header <= length <= limit:
        raise HyperstartError(f"a frame says that it is {length} bytes long")
    if len(buffer) < length:
        return None
    body = bytes(buffer[header:length])
    del buffer[:length]
    return body
