"""Records ↔ JSON text.

A key that this version does not know, written by a later one, is left out on reading:
records may gain keys with defaults without a new schema version.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from vctui.errors import StoreError

Record = TypeVar("Record", bound=msgspec.Struct)

_encoder: Final = msgspec.json.Encoder()
_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {}


def encode(record: msgspec.Struct) -> str:
    return _encoder.encode(record).decode()


def decode(text: str, kind: type[Record], what: str) -> Record:
    """Read a record of `kind`.

    Raises:
        StoreError: it cannot be read; `what` names it ("pod 'web'").
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        try:
            record: Record = decoder.decode(text)
        except msgspec.ValidationError:
            record = msgspec.convert(_known(msgspec.json.decode(text), kind), kind)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"the record of {what} in the database cannot be read ({error}); "
            "restore the database from a backup, or move it away to begin with an empty one"
        ) from error
    return record


def _known(value: Any, kind: Any) -> Any:
    """`value` without the keys that `kind` does not have, at any depth."""
    return _prune(value, msgspec.inspect.type_info(kind))


def _prune(value: Any, info: msgspec.inspect.Type) -> Any:
    match info:
        case msgspec.inspect.StructType(fields=fields) if isinstance(value, dict):
            return {
                field.encode_name: _prune(value[field.encode_name], field.type)
                for field in fields
                if field.encode_name in value
            }
        case msgspec.inspect.VarTupleType(item_type=item) if isinstance(value, list):
            return [_prune(each, item) for each in value]
        case msgspec.inspect.UnionType(types=types):
            structs = [each for each in types if isinstance(each, msgspec.inspect.StructType)]
            return _prune(value, structs[0]) if len(structs) == 1 else value
        case _:
            return value
