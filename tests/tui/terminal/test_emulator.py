"""What programs rely on in a terminal, sequence by sequence."""

from __future__ import annotations

import pytest

from tests.tui.terminal.screens import feed, shown
from vctui.tui.terminal.cells import TRUECOLOR, Attribute, Style
from vctui.tui.terminal.emulator import Emulator
from vctui.tui.terminal.modes import CursorShape, MouseTracking


@pytest.mark.parametrize(
    ("data", "screen"),
    [
        ("a\r\nb", ["a", "b"]),
        ("a\nb", ["a", " b"]),
        ("abc\rX", ["Xbc"]),
        ("abc\b\bX", ["aXc"]),
        ("a\tb", ["a       b"]),
        ("0123456789AB", ["0123456789", "AB"]),
        ("\x1b[?7l0123456789AB", ["012345678B"]),
        ("a\x1b[3Cb", ["a   b"]),
        ("abc\x1b[2DX", ["aXc"]),
        ("\x1b[2;3Hx", ["", "  x"]),
        ("\x1b[3dx", ["", "", "x"]),
        ("\x1b[4Gx", ["   x"]),
        ("\x1b[2Ex", ["", "", "x"]),
        ("\r\n\r\nab\x1b[Fx", ["", "x", "ab"]),
        ("abcdef\x1b[3G\x1b[K", ["ab"]),
        ("abcdef\x1b[3G\x1b[1K", ["   def"]),
        ("abcdef\x1b[2K", [""]),
        ("a\r\nb\r\nc\x1b[2;1H\x1b[J", ["a"]),
        ("a\r\nb\r\nc\x1b[2;1H\x1b[1J", ["", "", "c"]),
        ("a\r\nb\x1b[2J", [""]),
        ("abcdef\x1b[2G\x1b[2P", ["adef"]),
        ("abcdef\x1b[2G\x1b[2@", ["a  bcdef"]),
        ("abcdef\x1b[2G\x1b[2X", ["a  def"]),
        ("abc\x1b[4hX\x1b[1GY", ["YabcX"]),
        ("ab\x1b[3b", ["abbbb"]),
        ("a\r\nb\r\nc\x1b[1;1H\x1b[L", ["", "a", "b", "c"]),
        ("a\r\nb\r\nc\x1b[1;1H\x1b[M", ["b", "c"]),
        ("a\r\nb\r\nc\x1b[S", ["b", "c"]),
        ("a\r\nb\x1b[T", ["", "a", "b"]),
        ("\x1b[2;3r\x1b[2;1Ha\r\nb\r\nc", ["", "b", "c"]),
        ("\x1b[2;4r\x1b[?6h\x1b[1;1Hx", ["", "x"]),
        ("a\r\nb\x1b[1;1H\x1bM", ["", "a", "b"]),
        ("a\x1b7\x1b[4;4Hx\x1b8b", ["ab", "", "", "   x"]),
        ("a\x1b[sbc\x1b[uX", ["aXc"]),
        ("\x1b[3g\x1b[4G\x1bH\r\tx", ["   x"]),
        ("\x1b(0lqk\x1b(Bl", ["┌─┐l"]),
        ("\x1b)0a\x0eq\x0fq", ["a─q"]),
        ("\x1b#8\x1b[2;1H\x1b[J", ["EEEEEEEEEE"]),
        ("a\x1bcb", ["b"]),
        ("日本x", ["日本x"]),
        ("123456789日", ["123456789", "日"]),
        ("日本\x1b[2Gx", [" x本"]),
        ("e\u0301x", ["e\u0301x"]),
        ("main\x1b[?1049h\x1b[Halt", ["alt"]),
        ("main\x1b[?1049h\x1b[Halt\x1b[?1049l!", ["main!"]),
    ],
)
def test_what_is_on_the_screen(data: str, screen: list[str]) -> None:
    assert shown(feed(data)) == screen + [""] * (5 - len(screen))


def test_the_last_column_waits_before_it_wraps() -> None:
    emulator = feed("0123456789")
    assert emulator.screen.cursor == (0, 9)
    emulator.feed(b"\r")
    assert emulator.screen.cursor == (0, 0)
    assert shown(emulator)[1] == ""


@pytest.mark.parametrize("cut", range(1, 24))
def test_sequences_and_characters_may_be_cut_anywhere(cut: int) -> None:
    data = "é\x1b[31mr\x1b[0m日\x1b]0;t\x07k".encode()
    whole, parts = feed(data), Emulator(5, 10)
    parts.feed(data[:cut])
    parts.feed(data[cut:])
    assert [line.row() for line in parts.screen.lines] == [
        line.row() for line in whole.screen.lines
    ]


@pytest.mark.parametrize(
    ("parameters", "style"),
    [
        ("", Style()),
        ("1;31", Style(1, -1, Attribute.BOLD)),
        ("94;101", Style(12, 9)),
        ("38;5;200", Style(200)),
        ("48:5:200", Style(-1, 200)),
        ("38;2;1;2;3", Style(TRUECOLOR | 0x010203)),
        ("38:2:1:2:3", Style(TRUECOLOR | 0x010203)),
        ("38:2::1:2:3", Style(TRUECOLOR | 0x010203)),
        ("58;5;3;4", Style(-1, -1, Attribute.UNDERLINE)),
        ("4:3", Style(-1, -1, Attribute.UNDERLINE)),
        ("4;4:0", Style()),
        ("1;2;3;4;7;8;9;53;22;23;24;27;28;29;55", Style()),
        ("31;42;39;49", Style()),
        ("31;0", Style()),
        ("38;2;300;0;0", Style()),
        ("38;5", Style()),
        ("38", Style()),
        ("999;1", Style(-1, -1, Attribute.BOLD)),
    ],
)
def test_graphics(parameters: str, style: Style) -> None:
    emulator = feed(f"\x1b[{parameters}mx")
    assert emulator.screen.lines[0].row().runs[0].style == style


def test_erasing_takes_the_background_and_nothing_else() -> None:
    emulator = feed("\x1b[4;41mab\x1b[K")
    runs = emulator.screen.lines[0].row().runs
    assert [(run.text, run.style.background) for run in runs] == [("ab", 1), (" " * 8, 1)]
    assert not runs[1].style.attributes & Attribute.UNDERLINE


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("\x1b[5n", b"\x1b[0n"),
        ("\r\nab\x1b[6n", b"\x1b[2;3R"),
        ("\x1b[2;4r\x1b[?6h\x1b[2;1H\x1b[6n", b"\x1b[2;1R"),
        ("\x1b[?6n", b"\x1b[?1;1R"),
        ("\x1b[c", b"\x1b[?62;22c"),
        ("\x1bZ", b"\x1b[?62;22c"),
        ("\x1b[>c", b"\x1b[>1;277;0c"),
        ("\x1b[?2004h\x1b[?2004$p", b"\x1b[?2004;1$y"),
        ("\x1b[?1000$p", b"\x1b[?1000;2$y"),
        ("\x1b[?4711$p", b"\x1b[?4711;0$y"),
    ],
)
def test_what_it_answers(data: str, answer: bytes) -> None:
    assert Emulator(5, 10).feed(data.encode()) == answer


@pytest.mark.parametrize(
    "data",
    [
        "\x1b]0;title\x07",
        "\x1b]2;title\x1b\\",
        "\x1b]52;c;aGk=\x07",
        "\x1b]52;c;?\x07",
        "\x1b]10;?\x07",
        "\x1b]4;1;?\x1b\\",
        "\x1b]8;;http://x/\x1b\\",
        "\x1b]R",
        "\x1b]P1aabbcc",
        "\x1bPq#0;2;0;0;0#0~~\x1b\\",
        "\x1bP$qm\x1b\\",
        "\x1b_Gf=24;AAAA\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstart\x1b\\",
        "\x1b[21t",
        "\x1b[18t",
        "\x05",
        "\x1b[>q",
        "\x1b[?u",
        "\x1b[>4;2m",
        "\x9b31m"[:1],
    ],
)
def test_what_it_neither_shows_nor_answers(data: str) -> None:
    emulator = Emulator(5, 10)
    assert emulator.feed(data.encode() + b"ok") == b""
    assert shown(emulator)[0] == "ok"


def test_an_unterminated_string_ends_at_its_bound() -> None:
    emulator = Emulator(5, 10)
    emulator.feed(b"\x1b]" + b"x" * 65_536)
    assert shown(emulator)[0] == ""
    emulator.feed(b"back")
    assert shown(emulator)[0] == "back"


def test_controls_within_a_sequence_are_done_and_can_cancels_it() -> None:
    assert shown(feed("a\x1b[\r2CX"))[0] == "a X"
    assert shown(feed("\x1b[3\x18x"))[0] == "x"
    assert shown(feed("\x1b[3\x1b[2Cx"))[0] == "  x"


def test_modes() -> None:
    emulator = feed(
        "\x1b[?1h\x1b=\x1b[?25l\x1b[?2004h\x1b[?1004h\x1b[?1002h\x1b[?1006h\x1b[4 q\x1b[?5h"
    )
    modes = emulator.modes
    assert modes.application_cursor
    assert modes.application_keypad
    assert modes.bracketed_paste
    assert modes.focus_events
    assert modes.reverse_video
    assert not modes.cursor_visible
    assert modes.mouse is MouseTracking.DRAG
    assert modes.mouse_sgr
    assert modes.cursor_shape is CursorShape.UNDERLINE
    emulator.feed(b"\x1b[?1002l\x1b[!p")
    assert modes.mouse is MouseTracking.OFF
    assert modes.cursor_visible
    assert not modes.application_cursor


def test_lines_that_leave_the_top_go_to_the_history() -> None:
    emulator = feed("".join(f"{n}\r\n" for n in range(20)))
    screen = emulator.screen
    assert screen.first == 16
    assert [emulator.row(n).text for n in range(16, 20)] == ["16", "17", "18", "19"]
    assert emulator.row(3).text == "3"
    with pytest.raises(IndexError):
        emulator.row(-1)
    with pytest.raises(IndexError):
        emulator.row(21)
    emulator.feed(b"\x1b[3J")
    with pytest.raises(IndexError):
        emulator.row(3)


def test_the_alternate_screen_and_inner_regions_have_no_history() -> None:
    emulator = feed("\x1b[?1049h" + "x\r\n" * 20)
    assert emulator.screen.first == 0
    emulator = feed("\x1b[2;5r\x1b[5;1H" + "x\r\n" * 20)
    assert emulator.screen.first == 0


def test_the_history_is_bounded_in_rows_and_in_runs() -> None:
    emulator = Emulator(2, 100, history=50)
    emulator.feed(b"plain\r\n" * 500)
    assert len(emulator.screen.history) == 50
    emulator.feed(b"".join(b"\x1b[38;5;%dmx" % (n % 256) for n in range(100)) * 100)
    assert len(emulator.screen.history) <= 50 * 20 / 100
    assert emulator.row(emulator.screen.first - 1).text == "x" * 100


def test_resize_keeps_the_cursor_with_its_line() -> None:
    emulator = feed("a\r\nb\r\nc\r\nd\r\n$ ")
    emulator.resize(3, 10)
    assert shown(emulator) == ["c", "d", "$"]
    assert emulator.screen.cursor == (2, 2)
    emulator.resize(5, 10)
    assert shown(emulator) == ["a", "b", "c", "d", "$"]
    assert emulator.screen.cursor == (4, 2)


def test_resize_shows_again_what_a_nearer_margin_hid() -> None:
    emulator = feed("0123456789")
    emulator.resize(5, 4)
    emulator.resize(5, 10)
    assert shown(emulator)[0] == "0123456789"


def test_resize_of_the_alternate_screen_leaves_the_main_one_whole() -> None:
    emulator = feed("a\r\nb\r\n$ \x1b[?1049h\x1b[Hfull")
    emulator.resize(2, 8)
    assert shown(emulator) == ["full", ""]
    emulator.resize(6, 8)
    emulator.feed(b"\x1b[?1049l!")
    assert shown(emulator) == ["a", "b", "$ !", "", "", ""]


def test_a_row_is_the_same_object_until_its_line_changes() -> None:
    emulator = feed("a\r\nb")
    before = [line.row() for line in emulator.screen.lines]
    emulator.feed(b"c")
    after = [line.row() for line in emulator.screen.lines]
    assert [new is old for new, old in zip(after, before, strict=True)] == [
        True, False, True, True, True,
    ]  # fmt: skip


def test_answers_are_bounded() -> None:
    assert len(Emulator().feed(b"\x1b[6n" * 100_000)) <= 4096
