"""Write docs/api.md: functions, handles and structures from their docstrings, and the table of
the API's names with the test that shows each (tests/data/api.toml)."""

from __future__ import annotations

import enum
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import vctui
from vctui.engine import api, docstrings
from vctui.model import kinds

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs" / "api.md"
NAMES: Final = ROOT / "tests" / "data" / "api.toml"

ELSEWHERE: Final = {"LinuxCapabilities": "Capabilities"}
"""Structures with another name here."""
_SPELT: Final = {
    "DefaultVCPUs": "default_vcpus",
    "NetNSPath": "net_ns_path",
    "RootFs": "rootfs",
    "VCPUs": "vcpus",
}
_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_INTRODUCTION: Final = """\
# The API in Python

The functions, handles and structures of the virtcontainers 1.0 API as `vctui` has them. Names are
in snake case; structures are frozen and take their fields as keyword arguments, and where a field
has an enumeration the API's word for it will do. This page is made from the docstrings by
`make gen`; [pod-file.md](pod-file.md) has the same fields as keys of a pod file.
"""


def snake(name: str) -> str:
    """The API's name as Python spells it."""
    return _SPELT.get(name) or _WORD.sub("_", name).lower()


def find(section: str, owner: str, name: str) -> str:
    """Where the library has a name of the API; "" where it has not."""
    if section == "functions":
        return f"{snake(name)}()" if hasattr(vctui, snake(name)) else ""
    if section == "enumerations":
        kind = getattr(kinds, owner, None) or getattr(vctui, owner, None)
        return f"{owner}({name!r})" if kind and name in [one.value for one in kind] else ""
    there = ELSEWHERE.get(owner, owner)
    structure: Any = getattr(vctui, there, None)
    known = getattr(structure, "__struct_fields__", ()) or vars(structure or object)
    return f"{there}.{snake(name)}" if snake(name) in known else ""


def names() -> Iterator[tuple[str, str, str, str]]:
    """Section, owner, name and test of each name of the API; test "" where there is none."""
    for section, owners in tomllib.loads(NAMES.read_text(encoding="utf-8")).items():
        for owner, entries in owners.items():
            for name, test in entries.items():
                yield section, owner, name, test


def page() -> str:
    """The whole of docs/api.md."""
    public = [getattr(vctui, name) for name in vctui.__all__]
    functions = [thing for thing in public if inspect.isfunction(thing)]
    functions = [thing for thing in functions if thing.__module__ == api.__name__]
    structures = [
        thing for thing in public if inspect.isclass(thing) and issubclass(thing, msgspec.Struct)
    ]
    words = [thing for thing in public if inspect.isclass(thing) and issubclass(thing, enum.Enum)]
    parts = [
        _INTRODUCTION,
        *("## Functions\n", _prose(inspect.getdoc(api) or "")),
        *(_function(one, "###") for one in sorted(functions, key=_line)),
        *("## Handles\n", *(_handle(one) for one in (api.VCPod, api.VCContainer))),
        *("## Structures\n", *(_structure(one) for one in structures)),
        *("## Enumerations\n", *(_words(one) for one in words)),
        _table(),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _line(function: Any) -> int:
    return int(inspect.getsourcelines(function)[1])


def _function(function: Any, level: str, owner: str = "") -> str:
    signature = str(inspect.signature(function)).replace("'", "")
    signature = signature.replace("(self, ", "(").replace("(self)", "()")
    word = "await " if inspect.iscoroutinefunction(function) else ""
    name = f"{owner}{function.__name__}"
    return f"{level} {name}\n\n```python\n{word}{name}{signature}\n```\n\n{_doc(function)}\n"


def _handle(handle: type) -> str:
    parts = [f"### {handle.__name__}\n\n{_doc(handle)}\n"]
    for name, member in vars(handle).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            gives = str(inspect.signature(member.fget or len).return_annotation).strip("'")
            title = f"{handle.__name__}.{name}"
            parts.append(f"#### {title}\n\n```python\n{title}: {gives}\n```\n\n{_doc(member)}\n")
        else:
            parts.append(_function(member, "####", f"{handle.__name__}."))
    return "\n".join(parts)


def _structure(structure: type[msgspec.Struct]) -> str:
    said = docstrings.of_fields(structure)
    wanted_types = inspect.get_annotations(structure)
    rows = []
    for field in msgspec.structs.fields(structure):
        wanted = _cell(str(wanted_types[field.name]))
        cells = (f"`{field.name}`", f"`{wanted}`", _default(field), _cell(said.get(field.name, "")))
        rows.append(f"| {' | '.join(cells)} |")
    table = "\n".join(
        ["| field | type | default | what it is |", "| --- | --- | --- | --- |", *rows]
    )
    return f"### {structure.__name__}\n\n{_doc(structure)}\n\n{table}\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{field.default_factory()!r}`"
    match field.default:
        case msgspec.NODEFAULT:
            return ""
        case msgspec.Struct() as nested:
            return f"`{type(nested).__name__}()`"
        case enum.Enum() as member:
            return f"`{member.value}`"
        case other:
            return f"`{other!r}`"


def _words(kind: type[enum.Enum]) -> str:
    said = docstrings.of_fields(kind)
    rows = [f"- `{one.value}` {said.get(one.name, '')}".rstrip() for one in kind]
    return f"### {kind.__name__}\n\n{_doc(kind)}\n\n" + "\n".join([*rows]) + "\n"


def _table() -> str:
    lines = [
        "## Each name of the API, and the test that shows it",
        "",
        "| name in the API | here | shown by |",
        "| --- | --- | --- |",
    ]
    for section, owner, name, test in names():
        full = name if section == "functions" else f"{owner}.{name}"
        here = find(section, owner, name)
        lines.append(f"| {full} | {f'`{here}`' if here else 'not yet'} | {_link(test)} |")
    return "\n".join([*lines, ""])


def _link(test: str) -> str:
    file, _, function = test.partition("::")
    return f"[{function}](../{file})" if test else ""


def _doc(thing: object) -> str:
    text = inspect.getdoc(thing) or ""
    return "" if text == inspect.getdoc(getattr(thing, "__base__", None)) else _prose(text)


def _prose(text: str) -> str:
    """A docstring as Markdown: its sections as lists, its examples as code."""
    text = re.sub(r"^Raises:\n", "Raises:\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^Args:\n", "Arguments:\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^ {4}([\w, ]+): ", r"- \1: ", text, flags=re.MULTILINE)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
