"""proto3 messages without google.protobuf.

Importing google.protobuf with one generated module takes 50 ms on the host, and about a second of
emulated time in a guest; this module and its tables take two, and some ten.
Tables of the messages are generated from the same `.proto` files (wire/pb/tables.py),
and a test holds this codec against google.protobuf message by message.

A message class is made when it is first asked for:

    request = proto.message("ReadStreamRequest").decode(payload)
    request.container_id, request.len

Attributes are as those of google.protobuf: a missing scalar is its zero, a missing list or map
is empty and can be filled in place, a missing message is an empty one (`HasField` tells).
So who writes messages has them typed by what is generated for google.protobuf:

    if TYPE_CHECKING:
        from vctui.wire.pb import agent_pb2
    else:
        agent_pb2 = proto.messages
"""

from __future__ import annotations

import struct

from vctui.wire.pb.tables import TABLES, VALUES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

MAX_FIELDS = 100_000
"""Fields in one message with all it holds: bounds the memory that a small frame can ask for."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "bool": (0, 1),
}
_SCALARS = _RANGES.keys()
_ZERO: dict[str, Any] = {**dict.fromkeys(_SCALARS, 0), "bool": False, "string": "", "bytes": b""}
_classes: dict[str, type[Message]] = {}
_entries: dict[str, type[Message]] = {}


class Message:
    """Base of all messages; set fields stand in the instance's dictionary."""

    NAME = ""
    FIELDS: ClassVar[dict[int, tuple[str, str, str]]] = {}
    """Number → name, kind (a scalar's or a message's name; of a map: its values'), label
    ("", "optional", "repeated" or "map", whose keys are strings)."""
    _BY_NAME: ClassVar[dict[str, tuple[str, str]]] = {}

    def __init__(self, **fields: Any) -> None:
        """Fields that are None are not set."""
        for name, value in fields.items():
            if name not in self._BY_NAME:
                raise ValueError(f"{self.NAME} has no field {name}")
            if value is None:
                continue
            _, label = self._BY_NAME[name]
            if label == "repeated":
                value = list(value)  # noqa: PLW2901
            elif label == "map":
                value = dict(value)  # noqa: PLW2901
            self.__dict__[name] = value

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The value of a field that is not set."""
            try:
                kind, label = self._BY_NAME[name]
            except KeyError:
                raise AttributeError(f"{self.NAME} has no field {name}") from None
            if label == "repeated":
                return self.__dict__.setdefault(name, [])
            if label == "map":
                return self.__dict__.setdefault(name, {})
            return _ZERO[kind] if kind in _ZERO else message(kind)()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.NAME}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def HasField(self, name: str) -> bool:  # noqa: N802 (google.protobuf's name)
        return name in self.__dict__

    def ClearField(self, name: str) -> None:  # noqa: N802 (google.protobuf's name)
        self.__dict__.pop(name, None)

    def encode(self) -> bytes:
        """The wire form, fields in the order of their numbers.

        Raises:
            ValueError: a number does not fit its field.
        """
        out: list[bytes] = []
        values = self.__dict__
        for number, (name, kind, label) in self.FIELDS.items():
            if name not in values:
                continue
            value = values[name]
            if label == "repeated":
                if kind in _SCALARS:
                    if value:
                        packed = b"".join(_number(kind, each) for each in value)
                        out.append(_key(number, _LENGTH) + _lengthy(packed))
                else:
                    out.extend(_field(number, kind, each) for each in value)
            elif label == "map":
                for key, each in value.items():
                    entry = _field(1, "string", key) + _field(2, kind, each)
                    out.append(_key(number, _LENGTH) + _lengthy(entry))
            elif label == "optional" or kind not in _ZERO or value:
                out.append(_field(number, kind, value))
        return b"".join(out)

    @classmethod
    def decode(cls, data: bytes) -> Any:
        """The message in `data`; unknown fields are passed over.

        Raises:
            ValueError: these are no bytes of such a message.
        """
        decoded = cls()
        try:
            _merge(decoded, data, [MAX_FIELDS])
        except (IndexError, struct.error):
            raise ValueError(f"{cls.NAME} is cut short") from None
        return decoded

    SerializeToString = encode  # google.protobuf's names
    FromString = decode


class _Messages:
    """Messages, and the values of enumerations, as attributes of their names."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> type[Message] | int:
            try:
                return VALUES[name] if name in VALUES else message(name)
            except KeyError:
                raise AttributeError(f"there is no message {name}") from None


def message(name: str) -> type[Message]:
    """The class of a message of the tables.

    Raises:
        KeyError: there is none of that name.
    """
    found = _classes.get(name)
    if found is None:
        rows = TABLES[name]
        found = _classes[name] = type(
            name,
            (Message,),
            {
                "NAME": name,
                "FIELDS": {number: (field, kind, label) for number, field, kind, label in rows},
                "_BY_NAME": {field: (kind, label) for _, field, kind, label in rows},
            },
        )
    return found


messages = _Messages()


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= 0xFFFFFFFFFFFFFFFF  # a negative number takes ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(kind: str, value: int) -> bytes:
    low, high = _RANGES[kind]
    if not low <= value <= high:
        raise ValueError(f"{value} does not fit a field of {kind}")
    return _varint(int(value))


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _lengthy(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _field(number: int, kind: str, value: Any) -> bytes:
    if kind == "bytes":
        return _key(number, _LENGTH) + _lengthy(value)
    if kind == "string":
        return _key(number, _LENGTH) + _lengthy(value.encode())
    if kind in _SCALARS:
        return _key(number, _VARINT) + _number(kind, value)
    return _key(number, _LENGTH) + _lengthy(value.encode())


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number takes more than ten bytes")


def _signed(bits: int) -> Callable[[int], int]:
    half, mask = 1 << bits - 1, (1 << bits) - 1
    return lambda value: ((value & mask) ^ half) - half


_NUMBERS: dict[str, Callable[[int], Any]] = {
    "int32": _signed(32),
    "int64": _signed(64),
    "uint32": lambda value: value & 0xFFFFFFFF,
    "uint64": lambda value: value,
    "bool": bool,
}


def _merge(into: Message, data: bytes, budget: list[int]) -> None:
    """Set the fields of `data` in `into`; what is repeated is appended, messages are merged."""
    fields, values = into.FIELDS, into.__dict__
    at, end = 0, len(data)
    while at < end:
        budget[0] -= 1
        if budget[0] < 0:
            raise ValueError(f"{into.NAME} has more than {MAX_FIELDS} fields")
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3 & 0x1FFFFFFF, key & 7
        if not number:
            raise ValueError(f"{into.NAME} has a field of number 0")
        raw: Any
        if wire_type == _VARINT:
            raw, at = _read_varint(data, at)
        elif wire_type == _LENGTH:
            length, at = _read_varint(data, at)
            if length > end - at:
                raise ValueError(f"{into.NAME} is cut short")
            raw = data[at : at + length]
            at += length
        elif wire_type in {_FIXED64, _FIXED32}:
            at += 8 if wire_type == _FIXED64 else 4
            if at > end:
                raise ValueError(f"{into.NAME} is cut short")
            continue  # no message here has such a field
        else:
            raise ValueError(f"{into.NAME} has a field of wire type {wire_type}")
        if number not in fields:
            continue
        name, kind, label = fields[number]
        if kind in _SCALARS and label != "map":
            number_of = _NUMBERS[kind]
            if wire_type == _VARINT:
                if label == "repeated":
                    values.setdefault(name, []).append(number_of(raw))
                else:
                    values[name] = number_of(raw)
            elif label == "repeated":
                values.setdefault(name, []).extend(_packed(raw, number_of, budget))
        elif wire_type != _LENGTH:
            continue
        elif label == "map":
            entry_key, entry_value = _entry(raw, kind, budget)
            values.setdefault(name, {})[entry_key] = entry_value
        elif kind in _ZERO:
            text = raw.decode() if kind == "string" else raw
            if label == "repeated":
                values.setdefault(name, []).append(text)
            else:
                values[name] = text
        elif label == "repeated":
            inner = message(kind)()
            _merge(inner, raw, budget)
            values.setdefault(name, []).append(inner)
        else:
            _merge(values.setdefault(name, message(kind)()), raw, budget)


def _packed(data: bytes, number_of: Callable[[int], Any], budget: list[int]) -> list[Any]:
    found = []
    at = 0
    while at < len(data):
        budget[0] -= 1
        if budget[0] < 0:
            raise ValueError(f"more than {MAX_FIELDS} fields")
        raw, at = _read_varint(data, at)
        found.append(number_of(raw))
    return found


def _entry(data: bytes, kind: str, budget: list[int]) -> tuple[str, Any]:
    """Key and value of one entry of a map: on the wire, a message with fields 1 and 2."""
    if kind not in _entries:
        rows = {1: ("key", "string", ""), 2: ("value", kind, "")}
        by_name = {name: (type_, label) for name, type_, label in rows.values()}
        members = {"NAME": f"entry of {kind}", "FIELDS": rows, "_BY_NAME": by_name}
        _entries[kind] = type("Entry", (Message,), members)
    entry: Any = _entries[kind]()
    _merge(entry, data, budget)
    return entry.key, entry.value
