"""What a program has asked of its terminal beside what is on the screen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final


class MouseTracking(IntEnum):
    """Which events a program wants; each includes those before it."""

    OFF = 0
    PRESS = 9
    BUTTONS = 1000
    DRAG = 1002
    MOTION = 1003


class CursorShape(Enum):
    BLOCK = "block"
    UNDERLINE = "underline"
    BAR = "bar"


@dataclass(slots=True)
class Modes:
    application_cursor: bool = False
    application_keypad: bool = False
    newline: bool = False
    """LNM: a line feed returns the carriage too, and the enter key sends both."""
    reverse_video: bool = False
    cursor_visible: bool = True
    cursor_shape: CursorShape = CursorShape.BLOCK
    bracketed_paste: bool = False
    focus_events: bool = False
    mouse: MouseTracking = MouseTracking.OFF
    mouse_sgr: bool = False
    """Mouse reports in decimal, otherwise in single bytes that end at column 223."""
    alternate_scroll: bool = True
    """On the alternate screen the wheel sends cursor keys."""


FLAGS: Final = {
    1: "application_cursor",
    5: "reverse_video",
    25: "cursor_visible",
    66: "application_keypad",
    1004: "focus_events",
    1006: "mouse_sgr",
    1007: "alternate_scroll",
    2004: "bracketed_paste",
}
"""DEC private mode number → the flag of Modes that it switches."""

TRACKING: Final = frozenset(MouseTracking) - {MouseTracking.OFF}
"""Their numbers are those of the DEC private modes."""

CURSOR_SHAPES: Final = {
    0: CursorShape.BLOCK,
    1: CursorShape.BLOCK,
    2: CursorShape.BLOCK,
    3: CursorShape.UNDERLINE,
    4: CursorShape.UNDERLINE,
    5: CursorShape.BAR,
    6: CursorShape.BAR,
}
"""Parameter of DECSCUSR; blinking is not offered."""
