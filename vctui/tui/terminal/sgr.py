"""Select Graphic Rendition (ECMA-48 8.3.117 and xterm's ctlseqs): parameters onto a style.

Pure. Semicolon and colon forms of colours are understood; what is unknown is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vctui.tui.terminal.cells import DEFAULT_COLOR, PLAIN, TRUECOLOR, Attribute, Style

_CACHE_SIZE: Final = 4096
_MAX_PARAMETERS: Final = 64

_SET: Final[Mapping[int, int]] = {
    1: Attribute.BOLD,
    2: Attribute.DIM,
    3: Attribute.ITALIC,
    4: Attribute.UNDERLINE,
    5: Attribute.BLINK,
    6: Attribute.BLINK,
    7: Attribute.REVERSE,
    8: Attribute.CONCEAL,
    9: Attribute.STRIKE,
    21: Attribute.UNDERLINE,
    53: Attribute.OVERLINE,
}
_CLEAR: Final[Mapping[int, int]] = {
    22: Attribute.BOLD | Attribute.DIM,
    23: Attribute.ITALIC,
    24: Attribute.UNDERLINE,
    25: Attribute.BLINK,
    27: Attribute.REVERSE,
    28: Attribute.CONCEAL,
    29: Attribute.STRIKE,
    55: Attribute.OVERLINE,
}
_COLORS: Final = {38, 48, 58}
"""58 colours the underline: read over, since a style has no such colour."""


class Graphics:
    """Applies SGR parameters with a bounded memory of past answers: programs repeat few."""

    def __init__(self) -> None:
        self._known: dict[tuple[Style, str], Style] = {}

    def apply(self, style: Style, parameters: str) -> Style:
        """`parameters` is what stands between CSI and `m`: digits, `;` and `:`."""
        if parameters in {"", "0"}:
            return PLAIN
        key = (style, parameters)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            known = self._known[key] = _apply(style, parameters)
        return known


def _apply(style: Style, parameters: str) -> Style:
    fields = parameters.split(";", _MAX_PARAMETERS)[:_MAX_PARAMETERS]
    at = 0
    while at < len(fields):
        first, *sub = fields[at].split(":")
        code = int(first or 0)
        at += 1
        if code == 0:
            style = PLAIN
        elif code in _COLORS:
            if sub:
                color = _color(sub[0], sub[-3:] if sub[0] == "2" else sub[1:2])
            else:
                kind = fields[at] if at < len(fields) else ""
                count = {"2": 3, "5": 1}.get(kind, 0)
                color = _color(kind, fields[at + 1 : at + 1 + count])
                at += 1 + count
            if color is not None and code == 38:
                style = style._replace(foreground=color)
            elif color is not None and code == 48:
                style = style._replace(background=color)
        elif code == 4 and sub[:1] == ["0"]:
            style = style._replace(attributes=style.attributes & ~int(Attribute.UNDERLINE))
        elif code in _SET:
            style = style._replace(attributes=style.attributes | int(_SET[code]))
        elif code in _CLEAR:
            style = style._replace(attributes=style.attributes & ~int(_CLEAR[code]))
        elif 30 <= code <= 37:
            style = style._replace(foreground=code - 30)
        elif code == 39:
            style = style._replace(foreground=DEFAULT_COLOR)
        elif 40 <= code <= 47:
            style = style._replace(background=code - 40)
        elif code == 49:
            style = style._replace(background=DEFAULT_COLOR)
        elif 90 <= code <= 97:
            style = style._replace(foreground=code - 90 + 8)
        elif 100 <= code <= 107:
            style = style._replace(background=code - 100 + 8)
    return PLAIN if style == PLAIN else style


def _color(kind: str, values: list[str]) -> int | None:
    try:
        numbers = [int(value or 0) for value in values]
    except ValueError:  # a colon form among the semicolons
        return None
    if any(number > 255 for number in numbers):
        return None
    if kind == "5" and len(numbers) == 1:
        return numbers[0]
    if kind == "2" and len(numbers) == 3:
        red, green, blue = numbers
        return TRUECOLOR | red << 16 | green << 8 | blue
    return None
