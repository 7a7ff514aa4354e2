"""Keys, pastes and mouse events as the bytes that xterm sends for them.

Pure. Key names are Textual's; how it names what it received is in its `_ansi_sequences`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from vctui.tui.terminal.modes import Modes, MouseTracking

_SHIFT, _ALT, _CONTROL = 1, 2, 4
_MODIFIERS: Final = {"shift": _SHIFT, "alt": _ALT, "meta": _ALT, "ctrl": _CONTROL}

_CURSOR: Final = {"up": "A", "down": "B", "right": "C", "left": "D", "end": "F", "home": "H"}
_LETTERED: Final = {"f1": "P", "f2": "Q", "f3": "R", "f4": "S"}
_NUMBERED: Final = {
    "insert": 2,
    "delete": 3,
    "pageup": 5,
    "pagedown": 6,
    "f5": 15,
    "f6": 17,
    "f7": 18,
    "f8": 19,
    "f9": 20,
    "f10": 21,
    "f11": 23,
    "f12": 24,
}
_PLAIN: Final = {"backspace": "\x7f", "tab": "\t", "escape": "\x1b", "space": " "}
_CONTROL_CHARS: Final = {
    "at": "\0",
    "@": "\0",
    "space": "\0",
    "left_square_bracket": "\x1b",
    "backslash": "\x1c",
    "right_square_bracket": "\x1d",
    "circumflex_accent": "\x1e",
    "underscore": "\x1f",
    "slash": "\x1f",
    "minus": "\x1f",
    "question_mark": "\x7f",
    "backspace": "\b",
    "2": "\0",
    "3": "\x1b",
    "4": "\x1c",
    "5": "\x1d",
    "6": "\x1e",
    "7": "\x1f",
    "8": "\x7f",
}
_CHARACTER_NAMES: Final = {
    "slash": "/",
    "backslash": "\\",
    "at": "@",
    "minus": "-",
    "plus": "+",
    "underscore": "_",
}


def encode_key(key: str, character: str | None, modes: Modes) -> bytes:
    """What to send for a key; empty for one that terminals do not send.

    Args:
        key: Textual's name, as `ctrl+shift+left`.
        character: what the key types, if anything.
    """
    *prefixes, name = key.split("+") if key != "+" else ["+"]
    modifiers = 0
    for prefix in prefixes:
        modifiers |= _MODIFIERS.get(prefix, 0)
    number = _function_key(name)
    if number is not None:
        name, modifiers = number, modifiers | _SHIFT
    special = _special(name, modifiers, modes)
    if special is not None:
        return special.encode()
    typed = _control(name) if modifiers & _CONTROL else character or _character(name)
    if typed and modifiers & _SHIFT and character is None:
        typed = typed.upper()
    if typed and modifiers & _ALT:
        typed = "\x1b" + typed
    return typed.encode(errors="replace")


def _function_key(name: str) -> str | None:
    """F13 to F24 are shifted F1 to F12 since there were terminals."""
    if name[:1] == "f" and name[1:].isdecimal() and 13 <= int(name[1:]) <= 24:
        return f"f{int(name[1:]) - 12}"
    return None


def _special(name: str, modifiers: int, modes: Modes) -> str | None:
    letter = _CURSOR.get(name) or _LETTERED.get(name)
    if letter is not None:
        if modifiers:
            return f"\x1b[1;{modifiers + 1}{letter}"
        application = modes.application_cursor or name in _LETTERED
        return f"\x1bO{letter}" if application else f"\x1b[{letter}"
    if name in _NUMBERED:
        modified = f";{modifiers + 1}" if modifiers else ""
        return f"\x1b[{_NUMBERED[name]}{modified}~"
    if name == "tab" and modifiers & _SHIFT:
        return "\x1b[Z"
    escape = "\x1b" if modifiers & _ALT else ""
    if name == "enter":
        return escape + ("\r\n" if modes.newline else "\r")
    if name in _PLAIN and not modifiers & _CONTROL:
        return escape + _PLAIN[name]
    return None


def _control(name: str) -> str:
    if len(name) == 1 and name.isascii() and name.isalpha():
        return chr(ord(name.upper()) - ord("@"))
    return _CONTROL_CHARS.get(name, "")


@lru_cache(maxsize=256)
def _character(name: str) -> str:
    """The character of a name such as `full_stop`; Textual makes them from Unicode's."""
    if len(name) == 1:
        return name
    try:
        return _CHARACTER_NAMES.get(name) or unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return ""


def encode_paste(text: str, modes: Modes) -> bytes:
    """Pasted text, without what could end the bracket early or be a key of its own."""
    text = text.replace("\r\n", "\r").replace("\n", "\r")
    text = "".join(char for char in text if char >= " " or char in "\r\t")
    text = text.replace("\x7f", "")
    data = text.encode(errors="replace")
    return b"\x1b[200~%s\x1b[201~" % data if modes.bracketed_paste else data


class MouseAction(Enum):
    PRESS = "press"
    RELEASE = "release"
    MOVE = "move"
    WHEEL_UP = "wheel up"
    WHEEL_DOWN = "wheel down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mouse:
    action: MouseAction
    row: int
    """From 0, as the column."""
    column: int
    button: int = 0
    """1 left, 2 middle, 3 right, 0 none; of a move, what is held down."""
    shift: bool = False
    alt: bool = False
    control: bool = False


def encode_mouse(mouse: Mouse, modes: Modes) -> bytes:
    """What to report of a mouse event; empty when the program did not ask for such."""
    action, tracking = mouse.action, modes.mouse
    least = {
        MouseAction.PRESS: MouseTracking.PRESS,
        MouseAction.MOVE: MouseTracking.DRAG if mouse.button else MouseTracking.MOTION,
    }.get(action, MouseTracking.BUTTONS)
    if tracking is MouseTracking.OFF or tracking < least:
        return b""
    code = {MouseAction.WHEEL_UP: 64, MouseAction.WHEEL_DOWN: 65}.get(action, mouse.button - 1)
    if action is MouseAction.MOVE:
        code = (mouse.button - 1 if mouse.button else 3) + 32
    if tracking is not MouseTracking.PRESS:
        code += 4 * mouse.shift + 8 * mouse.alt + 16 * mouse.control
    column, row = mouse.column + 1, mouse.row + 1
    if modes.mouse_sgr:
        final = "m" if action is MouseAction.RELEASE else "M"
        return f"\x1b[<{code};{column};{row}{final}".encode()
    if action is MouseAction.RELEASE:
        code |= 3
    if max(column, row) > 223:
        return b""
    return b"\x1b[M" + bytes((code + 32, column + 32, row + 32))


def encode_wheel_as_keys(up: bool, modes: Modes, *, lines: int = 3) -> bytes:
    """On the alternate screen, for a program that did not ask for the mouse."""
    return encode_key("up" if up else "down", None, modes) * lines


def encode_focus(focused: bool, modes: Modes) -> bytes:
    if not modes.focus_events:
        return b""
    return b"\x1b[I" if focused else b"\x1b[O"
