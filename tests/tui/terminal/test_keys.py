"""Keys and mouse as xterm sends them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser

from vctui.tui.terminal.keys import (
    Mouse,
    MouseAction,
    encode_focus,
    encode_key,
    encode_mouse,
    encode_paste,
    encode_wheel_as_keys,
)
from vctui.tui.terminal.modes import Modes, MouseTracking

PLAIN = Modes()
APPLICATION = Modes(application_cursor=True)


@pytest.mark.parametrize(
    ("key", "character", "data"),
    [
        ("a", "a", b"a"),
        ("upper_a", "A", b"A"),
        ("space", " ", b" "),
        ("full_stop", ".", b"."),
        ("full_stop", None, b"."),
        ("é", "é", "é".encode()),
        ("enter", "\r", b"\r"),
        ("tab", "\t", b"\t"),
        ("shift+tab", None, b"\x1b[Z"),
        ("backspace", "\x7f", b"\x7f"),
        ("ctrl+backspace", None, b"\b"),
        ("escape", "\x1b", b"\x1b"),
        ("ctrl+c", "\x03", b"\x03"),
        ("ctrl+p", None, b"\x10"),
        ("ctrl+at", "\x00", b"\0"),
        ("ctrl+@", "\x00", b"\0"),
        ("ctrl+backslash", "\x1c", b"\x1c"),
        ("ctrl+right_square_bracket", "\x1d", b"\x1d"),
        ("ctrl+underscore", "\x1f", b"\x1f"),
        ("alt+x", "x", b"\x1bx"),
        ("alt+enter", None, b"\x1b\r"),
        ("alt+backspace", None, b"\x1b\x7f"),
        ("ctrl+alt+c", None, b"\x1b\x03"),
        ("shift+a", None, b"A"),
        ("up", None, b"\x1b[A"),
        ("shift+up", None, b"\x1b[1;2A"),
        ("ctrl+left", None, b"\x1b[1;5D"),
        ("alt+ctrl+shift+left", None, b"\x1b[1;8D"),
        ("home", None, b"\x1b[H"),
        ("pageup", None, b"\x1b[5~"),
        ("ctrl+delete", None, b"\x1b[3;5~"),
        ("f1", None, b"\x1bOP"),
        ("shift+f1", None, b"\x1b[1;2P"),
        ("f5", None, b"\x1b[15~"),
        ("f12", None, b"\x1b[24~"),
        ("f13", None, b"\x1b[1;2P"),
        ("f17", None, b"\x1b[15;2~"),
        ("caps_lock", None, b""),
        ("media_play", None, b""),
        ("plus", "+", b"+"),
    ],
)
def test_keys(key: str, character: str | None, data: bytes) -> None:
    assert encode_key(key, character, PLAIN) == data


def test_application_mode_changes_the_cursor_keys() -> None:
    assert encode_key("up", None, APPLICATION) == b"\x1bOA"
    assert encode_key("home", None, APPLICATION) == b"\x1bOH"
    assert encode_key("ctrl+up", None, APPLICATION) == b"\x1b[1;5A"
    assert encode_key("enter", None, Modes(newline=True)) == b"\r\n"


@pytest.mark.parametrize("code", [*range(0x01, 0x1B), *range(0x1C, 0x7F)])
def test_every_ascii_byte_that_is_typed_arrives_as_it_was(code: int) -> None:
    """Through Textual's own parser; it takes ctrl-h and delete for the same key."""
    keys = [event for event in XTermParser().feed(chr(code)) if isinstance(event, events.Key)]
    data = b"".join(encode_key(event.key, event.character, PLAIN) for event in keys)
    assert data == (b"\x7f" if code == 8 else bytes([code]))


@given(st.text(max_size=20), st.one_of(st.none(), st.text(max_size=2)))
def test_any_key_name_can_be_sent(key: str, character: str | None) -> None:
    assert isinstance(encode_key(key, character, PLAIN), bytes)


@given(st.text())
def test_a_paste_cannot_end_its_bracket_or_press_keys(text: str) -> None:
    data = encode_paste(text, Modes(bracketed_paste=True))
    inner = data.removeprefix(b"\x1b[200~").removesuffix(b"\x1b[201~")
    assert len(inner) == len(data) - 12
    assert all(byte >= 0x20 or byte in b"\r\t" for byte in inner)


def test_a_paste_has_the_enter_key_for_newlines() -> None:
    assert encode_paste("a\r\nb\nc\x1b[201~d", PLAIN) == b"a\rb\rc[201~d"


def mouse(action: MouseAction, **rest: int) -> Mouse:
    return Mouse(action=action, **{"row": 4, "column": 9} | rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "tracking", "data"),
    [
        (mouse(MouseAction.PRESS, button=1), MouseTracking.OFF, b""),
        (mouse(MouseAction.PRESS, button=1), MouseTracking.PRESS, b"\x1b[<0;10;5M"),
        (mouse(MouseAction.PRESS, button=3), MouseTracking.BUTTONS, b"\x1b[<2;10;5M"),
        (mouse(MouseAction.RELEASE, button=1), MouseTracking.PRESS, b""),
        (mouse(MouseAction.RELEASE, button=1), MouseTracking.BUTTONS, b"\x1b[<0;10;5m"),
        (mouse(MouseAction.MOVE, button=1), MouseTracking.BUTTONS, b""),
        (mouse(MouseAction.MOVE, button=1), MouseTracking.DRAG, b"\x1b[<32;10;5M"),
        (mouse(MouseAction.MOVE), MouseTracking.DRAG, b""),
        (mouse(MouseAction.MOVE), MouseTracking.MOTION, b"\x1b[<35;10;5M"),
        (mouse(MouseAction.WHEEL_UP), MouseTracking.BUTTONS, b"\x1b[<64;10;5M"),
        (mouse(MouseAction.WHEEL_DOWN, control=True), MouseTracking.BUTTONS, b"\x1b[<81;10;5M"),
        (mouse(MouseAction.PRESS, button=1, shift=True), MouseTracking.DRAG, b"\x1b[<4;10;5M"),
    ],
)
def test_mouse(event: Mouse, tracking: MouseTracking, data: bytes) -> None:
    assert encode_mouse(event, Modes(mouse=tracking, mouse_sgr=True)) == data


def test_mouse_in_bytes() -> None:
    modes = Modes(mouse=MouseTracking.BUTTONS)
    assert encode_mouse(mouse(MouseAction.PRESS, button=1), modes) == b"\x1b[M \x2a\x25"
    assert encode_mouse(mouse(MouseAction.RELEASE, button=1), modes) == b"\x1b[M#\x2a\x25"
    assert encode_mouse(mouse(MouseAction.PRESS, button=1, column=400), modes) == b""


def test_wheel_and_focus() -> None:
    assert encode_wheel_as_keys(True, APPLICATION) == b"\x1bOA" * 3
    assert encode_wheel_as_keys(False, PLAIN, lines=1) == b"\x1b[B"
    assert encode_focus(True, PLAIN) == b""
    assert encode_focus(True, Modes(focus_events=True)) == b"\x1b[I"
    assert encode_focus(False, Modes(focus_events=True)) == b"\x1b[O"
