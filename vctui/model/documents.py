"""Plain data of a TOML or JSON document → frozen structure, with errors that name the key's path.

msgspec converts; where it refuses, the data is walked once more beside the structure's type
to say which key is wrong, what it must be, and which key was probably meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from vctui.errors import InvalidConfig
from vctui.model.kinds import words

if TYPE_CHECKING:
    from msgspec import inspect

T = TypeVar("T")


def convert(data: object, type_: type[T], *, source: str) -> T:
    """`data` as a `type_`.

    Args:
        data: dicts, lists, strings, numbers and booleans, as a parser of documents gives them.
        type_: a msgspec.Struct.
        source: what the data was read from, for the error.

    Raises:
        InvalidConfig: naming `source`, the key's path, and what is expected there.
    """
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        from msgspec import inspect

        problem = next(_problems(data, inspect.type_info(type_), ""), str(error))
        raise InvalidConfig(f"{source}: {problem}") from error


def _problems(data: object, wanted: inspect.Type, path: str) -> Iterator[str]:
    """What is wrong with `data`, in the order of the document."""
    from msgspec import inspect

    match wanted:
        case inspect.UnionType():
            if not any(next(_problems(data, one, path), None) is None for one in wanted.types):
                yield from _problems(data, wanted.types[0], path)
        case inspect.StructType():
            if isinstance(data, Mapping):
                yield from _struct_problems(data, wanted, path)
            else:
                yield _mismatch(data, wanted, path)
        case inspect.DictType():
            if not isinstance(data, Mapping):
                yield _mismatch(data, wanted, path)
                return
            for key, value in data.items():
                yield from _problems(value, wanted.value_type, _join(path, str(key)))
        case inspect.VarTupleType() | inspect.ListType():
            if isinstance(data, str) or not isinstance(data, Sequence):
                yield _mismatch(data, wanted, path)
                return
            for index, item in enumerate(data):
                yield from _problems(item, wanted.item_type, f"{path}[{index}]")
        case inspect.EnumType():
            if data not in [member.value for member in wanted.cls]:
                yield _mismatch(data, wanted, path)
        case _:
            if not _is_scalar(data, wanted):
                yield _mismatch(data, wanted, path)


def _struct_problems(
    data: Mapping[str, object], wanted: inspect.StructType, path: str
) -> Iterator[str]:
    fields = {field.encode_name: field for field in wanted.fields}
    for key, value in data.items():
        if key in fields:
            yield from _problems(value, fields[key].type, _join(path, key))
        elif wanted.forbid_unknown_fields:
            import difflib

            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(fields)}"
            yield f"{_join(path, str(key))} is not a known key; {hint}"
    for name, field in fields.items():
        if field.required and name not in data:
            yield f"{_join(path, name)} is missing; it must be {_describe(field.type)}"


def _is_scalar(data: object, wanted: inspect.Type) -> bool:
    from msgspec import inspect

    match wanted:
        case inspect.BoolType():
            return isinstance(data, bool)
        case inspect.IntType():
            return isinstance(data, int) and not isinstance(data, bool) and _fits(data, wanted)
        case inspect.FloatType():
            if not isinstance(data, int | float) or isinstance(data, bool):
                return False
            return _fits(data, wanted)
        case inspect.StrType():
            return isinstance(data, str)
        case inspect.NoneType():
            return data is None
        case _:
            return True


def _fits(number: float, wanted: inspect.IntType | inspect.FloatType) -> bool:
    least, most = wanted.ge, wanted.le
    return (least is None or number >= least) and (most is None or number <= most)


def _bounds(wanted: inspect.IntType | inspect.FloatType) -> str:
    if wanted.ge is None:
        return "" if wanted.le is None else f" of at most {wanted.le:g}"
    return f" from {wanted.ge:g} " + ("on" if wanted.le is None else f"to {wanted.le:g}")


def _mismatch(data: object, wanted: inspect.Type, path: str) -> str:
    return f"{path or 'the document'} must be {_describe(wanted)}, not {_shown(data)}"


def _describe(wanted: inspect.Type, *, several: bool = False) -> str:
    """What is wanted, in words."""
    from msgspec import inspect

    match wanted:
        case inspect.UnionType():
            return _describe(wanted.types[0], several=several)
        case inspect.EnumType():
            return words(wanted.cls)
        case inspect.VarTupleType() | inspect.ListType():
            return f"a list of {_describe(wanted.item_type, several=True)}"
        case inspect.DictType() | inspect.StructType():
            one, many = "a table", "tables"
        case inspect.BoolType():
            one, many = "true or false", "true or false"
        case inspect.IntType():
            one, many = f"an integer{_bounds(wanted)}", f"integers{_bounds(wanted)}"
        case inspect.FloatType():
            one, many = f"a number{_bounds(wanted)}", f"numbers{_bounds(wanted)}"
        case _:
            one, many = "a string", "strings"
    return many if several else one


def _shown(data: object) -> str:
    match data:
        case bool():
            return str(data).lower()
        case None:
            return "null"
        case str():
            return repr(data if len(data) <= 40 else data[:39] + "…")
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return str(data)[:40]


def _join(path: str, key: str) -> str:
    shown = key if key.replace("_", "").replace("-", "").isalnum() else repr(key)
    return f"{path}.{shown}" if path else shown
