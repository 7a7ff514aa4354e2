"""The codec, held against google.protobuf message by message."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf import message as google
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire import proto
from vctui.wire.pb import (
    agent_pb2,
    guest_pb2,
    health_pb2,
    oci_pb2,
    tables,
    ttrpc_pb2,
    types_pb2,
)

MODULES = (ttrpc_pb2, health_pb2, types_pb2, oci_pb2, agent_pb2, guest_pb2)
CLASSES: dict[str, type[google.Message]] = {
    name: getattr(module, name)
    for module in MODULES
    for name in module.DESCRIPTOR.message_types_by_name
}
names = pytest.mark.parametrize("name", list(CLASSES))


def generator() -> ModuleType:
    path = Path(__file__).parents[2] / ".ci" / "gen_tables.py"
    spec = importlib.util.spec_from_file_location("gen_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_what_the_generator_makes() -> None:
    generated = generator()
    assert generated.TARGET.read_text(encoding="utf-8") == generated.source()
    assert set(tables.TABLES) == set(CLASSES)


def filled(message: Any, chance: random.Random, depth: int = 0) -> Any:
    """Set about half of the fields of a google.protobuf message to anything."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.5 or depth > 4 or field.name == "details":
            continue
        count = chance.randint(1, 3) if field.is_repeated else 1
        target = getattr(message, field.name)
        for _ in range(count):
            if field.message_type is None and field.is_repeated:
                target.append(scalar(field, chance))
            elif field.message_type is None:
                setattr(message, field.name, scalar(field, chance))
            elif field.message_type.GetOptions().map_entry:
                key = scalar(field.message_type.fields_by_name["key"], chance)
                of = field.message_type.fields_by_name["value"]
                if of.message_type is None:
                    target[key] = scalar(of, chance)
                else:
                    filled(target[key], chance, depth + 1)
            else:
                part = target.add() if field.is_repeated else target
                part.SetInParent() if not field.is_repeated else None
                filled(part, chance, depth + 1)
    return message


def scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(["", "x", "ünï\x00cödé", "y" * 200])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(chance.choice([0, 1, 300]))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type == FieldDescriptor.TYPE_ENUM:
        return chance.choice(list(field.enum_type.values_by_number))
    bits = 64 if field.type in {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64} else 32
    signed = field.type in {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64}
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return chance.choice([0, 1, 127, 128, low, high, chance.randint(low, high)])


@names
@pytest.mark.parametrize("seed", range(5))
def test_both_codecs_agree(name: str, seed: int) -> None:
    theirs = filled(CLASSES[name](), random.Random(f"{name}{seed}"))
    data = theirs.SerializeToString()
    ours = proto.message(name).decode(data)
    assert ours.encode() == data
    assert CLASSES[name].FromString(ours.encode()) == theirs
    for field in theirs.DESCRIPTOR.fields:
        if field.message_type is None:
            assert getattr(ours, field.name) == getattr(theirs, field.name)
        elif not field.is_repeated:
            assert ours.HasField(field.name) == theirs.HasField(field.name)


@names
def test_an_empty_message_has_defaults(name: str) -> None:
    ours, theirs = proto.message(name)(), CLASSES[name]()
    assert ours.encode() == b""
    for field in theirs.DESCRIPTOR.fields:
        if field.name == "details":
            continue
        if field.message_type is None:
            assert getattr(ours, field.name) == getattr(theirs, field.name)
        else:
            assert not getattr(ours, field.name).__dict__ if not field.is_repeated else True


@given(name=st.sampled_from(list(CLASSES)), data=st.binary(max_size=200))
def test_garbage_is_refused_or_read_as_google_reads_it(name: str, data: bytes) -> None:
    try:
        ours = proto.message(name).decode(data)
    except ValueError:
        return
    try:
        theirs = CLASSES[name].FromString(data)
    except google.DecodeError:
        return  # it checks what it does not know more closely
    again = CLASSES[name].FromString(ours.encode())
    theirs.DiscardUnknownFields()
    if hasattr(theirs, "details"):
        theirs.ClearField("details")
    assert again == theirs


def test_messages_and_maps_are_merged() -> None:
    first = oci_pb2.Spec(process=oci_pb2.Process(Cwd="/a", Args=["x"]), Annotations={"k": "v"})
    second = oci_pb2.Spec(process=oci_pb2.Process(Args=["y"]), Annotations={"k": "w", "l": ""})
    data = first.SerializeToString() + second.SerializeToString()
    merged = proto.message("Spec").decode(data)
    assert (merged.process.Cwd, merged.process.Args) == ("/a", ["x", "y"])
    assert merged.Annotations == {"k": "w", "l": ""}


def test_lists_and_maps_are_filled_in_place() -> None:
    spec = proto.message("Spec")()
    spec.Mounts.append(proto.message("Mount")(destination="/x"))
    spec.Annotations["a"] = "b"
    theirs = oci_pb2.Spec.FromString(spec.encode())
    assert theirs.Mounts[0].destination == "/x"
    assert dict(theirs.Annotations) == {"a": "b"}


@names
@pytest.mark.parametrize("seed", range(5))
def test_what_is_made_of_fields_is_the_same(name: str, seed: int) -> None:
    theirs = filled(CLASSES[name](), random.Random(f"{name}{seed}"))
    data = made(theirs).SerializeToString()
    assert len(data) == theirs.ByteSize()
    assert CLASSES[name].FromString(data) == theirs


def made(theirs: Any) -> Any:
    """Our message of the fields of a google.protobuf message, those that are not set as None."""
    fields = {}
    for field in theirs.DESCRIPTOR.fields:
        if field.name == "details":
            continue
        value = getattr(theirs, field.name)
        if field.has_presence and not theirs.HasField(field.name):
            value = None
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            whole = field.message_type.fields_by_name["value"].message_type is not None
            value = {key: made(each) if whole else each for key, each in value.items()}
        elif field.message_type is not None:
            value = tuple(map(made, value)) if field.is_repeated else made(value)
        fields[field.name] = value
    return proto.message(theirs.DESCRIPTOR.name)(**fields)


@names
def test_a_number_that_does_not_fit_is_refused(name: str) -> None:
    for field in CLASSES[name].DESCRIPTOR.fields:
        if field.cpp_type not in {field.CPPTYPE_INT32, field.CPPTYPE_UINT32} | {
            field.CPPTYPE_INT64,
            field.CPPTYPE_UINT64,
        }:
            continue
        for number in (2**64, -(2**63) - 1):
            value = [number] if field.is_repeated else number
            with pytest.raises(ValueError, match=r"range"):
                CLASSES[name](**{field.name: value})
            with pytest.raises(ValueError, match="does not fit"):
                proto.message(name)(**{field.name: value}).encode()


def test_messages_and_values_are_found_by_name() -> None:
    messages: Any = proto.messages
    assert messages.Spec is proto.message("Spec")
    assert (messages.v4, messages.v6) == (types_pb2.v4, types_pb2.v6)
    with pytest.raises(AttributeError):
        _ = messages.NoSuchMessage


def test_a_field_is_cleared() -> None:
    spec: Any = proto.message("Spec")(Hostname="x", root=proto.message("Root")())
    spec.ClearField("root")
    spec.ClearField("process")
    assert not spec.HasField("root")
    assert spec.encode() == oci_pb2.Spec(Hostname="x").SerializeToString()


def test_a_message_cannot_ask_for_unbounded_memory() -> None:
    with pytest.raises(ValueError, match="more than"):
        proto.message("Spec").decode(b"\x2a\x00" * (proto.MAX_FIELDS + 1))
    packed = b"\x2a" + b"\x80\x80\x40" + b"\x01" * (1 << 20)
    with pytest.raises(ValueError, match=r"more than|cut short"):
        proto.message("AddSwapRequest").decode(b"\x0a" + packed[1:])


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05abc", b"\xff" * 11, b"\x00\x00", b"\x0b", b"\x09\x00", b"\x0a\x01\xff"],
)
def test_what_is_cut_short_or_illegal_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the text says which of them)
        proto.message("Request").decode(data)


def test_unknown_names_are_errors() -> None:
    with pytest.raises(ValueError, match="no field"):
        proto.message("Status")(colour=1)
    with pytest.raises(AttributeError):
        _ = proto.message("Status")().colour
    with pytest.raises(KeyError):
        proto.message("NoSuchMessage")
