"""rtnetlink messages, as far as links, addresses, routes and neighbours need them (rtnetlink(7)).

pyroute2 does all of that and more, but importing it takes the guest five seconds and longer,
in which its agent would answer nobody.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

HEADER: Final = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence number, port."""
LINK: Final = struct.Struct("=BxHiII")
"""ifinfomsg: family, device type, index, flags, which of them to change."""
ADDRESS: Final = struct.Struct("=BBBBI")
"""ifaddrmsg: family, length of the prefix, flags, scope, index."""
ROUTE: Final = struct.Struct("=BBBBBBBBI")
"""rtmsg: family, prefix lengths of destination and source, TOS, table, protocol, scope, type,
flags."""
NEIGHBOR: Final = struct.Struct("=BxxxiHBB")
"""ndmsg: family, index, state, flags, type."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_INT: Final = struct.Struct("=i")

ERROR: Final = 2
DONE: Final = 3
NEWLINK, GETLINK, SETLINK = 16, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH = 28

REQUEST, ACK = 0x1, 0x4
DUMP = 0x300
CREATE, REPLACE, EXCLUSIVE = 0x400, 0x100, 0x200
_TYPE_MASK = 0x3FFF


class Message:
    """One message: its type, and the fixed part and attributes behind the header."""

    def __init__(self, kind: int, flags: int, body: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body

    @property
    def error(self) -> int:
        """The errno of an answer of type ERROR, 0 for an acknowledgement."""
        return -int(_INT.unpack_from(self.body)[0])


def encode(
    kind: int, flags: int, sequence: int, fixed: bytes, values: Mapping[int, bytes] | None = None
) -> bytes:
    """A message of a fixed part and attributes."""
    body = fixed + attributes(values or {})
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, flags | REQUEST, sequence, 0) + body


def attributes(values: Mapping[int, bytes]) -> bytes:
    """Attributes by their type; nest by giving attributes as a value."""
    return b"".join(
        _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
        for kind, value in values.items()
    )


def decode(data: bytes) -> Iterator[Message]:
    """The messages of one datagram.

    Raises:
        ValueError: it is no sequence of messages.
    """
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, _, _ = HEADER.unpack_from(data, at)
        if not HEADER.size <= length <= len(data) - at:
            raise ValueError("a netlink message is longer than its datagram")
        yield Message(kind, flags, data[at + HEADER.size : at + length])
        at += length + -length % 4


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by their type.

    Raises:
        ValueError: they are no attributes.
    """
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            raise ValueError("a netlink attribute is longer than its message")
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4
    return found
