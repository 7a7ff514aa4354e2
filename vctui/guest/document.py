"""JSON text; the json module imports re, which would cost a tenth of a second."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ESCAPES = {number: f"\\u{number:04x}" for number in (*range(32), 127)}
_ESCAPES.update({ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\t"): "\\t"})


def dumps(value: Any) -> str:
    """`value` out of dict, list, tuple, str, int, float, bool and None as JSON."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, dict):
        members = (f"{dumps(str(name))}:{dumps(each)}" for name, each in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(dumps, value)) + "]"
    return repr(value)
