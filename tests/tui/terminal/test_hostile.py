"""Whatever a guest writes, the emulator goes on, keeps its bounds and its invariants."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcwidth

from vctui.tui.terminal import cells, paint
from vctui.tui.terminal.cells import MAX_COMBINING, split_cells
from vctui.tui.terminal.emulator import Emulator
from vctui.tui.widgets import log_line

FRAGMENTS = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=8).map(str.encode),
    st.sampled_from(["日本", "e\u0301", "\u0301\u0302", "👩\u200d👧", "❤\ufe0f", "\u00ad"]).map(
        str.encode
    ),
    st.builds(
        lambda prefix, numbers, intermediate, final: (
            f"\x1b[{prefix}{';'.join(map(str, numbers))}{intermediate}{final}".encode()
        ),
        st.sampled_from(["", "?", ">", "<", "="]),
        st.lists(st.sampled_from([0, 1, 2, 3, 5, 7, 25, 47, 999, 10**12, 1049]), max_size=4),
        st.sampled_from(["", "", "", " ", "!", "$"]),
        st.characters(min_codepoint=0x40, max_codepoint=0x7E),
    ),
    st.sampled_from([6, 7, 25, 47, 1047, 1048, 1049]).flatmap(
        lambda mode: st.sampled_from([b"\x1b[?%dh" % mode, b"\x1b[?%dl" % mode])
    ),
    st.sampled_from([b"\x1b[4h", b"\x1b[4l", b"\x1b[20h", b"\x1b[41m", b"\x1b[m"]),
    st.sampled_from([b"\x1b7", b"\x1b8", b"\x1bM", b"\x1bD", b"\x1bc", b"\x1b#8", b"\x1b(0"]),
    st.sampled_from([b"\x1b]", b"\x1bP", b"\x07", b"\x1b\\", b"\r", b"\n", b"\t", b"\x0e"]),
)
SIZE = st.tuples(st.integers(1, 12), st.integers(2, 30))


@given(st.lists(st.one_of(FRAGMENTS, SIZE), max_size=60), SIZE)
def test_no_bytes_break_the_screen(
    steps: list[bytes | tuple[int, int]], size: tuple[int, int]
) -> None:
    emulator = Emulator(*size, history=20)
    for step in steps:
        if isinstance(step, bytes):
            assert len(emulator.feed(step)) <= 4096
        else:
            emulator.resize(*step)
        check(emulator)


def check(emulator: Emulator) -> None:
    screen = emulator.screen
    assert len(screen.lines) == screen.rows
    assert 0 <= screen.x <= screen.columns
    assert 0 <= screen.y < screen.rows
    assert 0 <= screen.top <= screen.bottom < screen.rows
    assert len(screen.history) <= 20
    for number in range(screen.history.start, screen.first + screen.rows):
        row = emulator.row(number)
        for run in row.runs:
            parts = split_cells(run.text)
            assert len(parts) == run.width
            assert all(len(cell) <= MAX_COMBINING + 1 for cell in parts)
            assert all(char >= " " and not "\x7f" <= char <= "\x9f" for char in run.text)


@given(st.lists(FRAGMENTS, max_size=30), st.integers(1, 7))
def test_chunks_make_no_difference(fragments: list[bytes], step: int) -> None:
    data = b"".join(fragments)
    whole, parts = Emulator(6, 20), Emulator(6, 20)
    answers = whole.feed(data)
    pieces = b"".join(parts.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert pieces == answers
    assert parts.screen.cursor == whole.screen.cursor
    # Text and its combining characters may come apart into runs, but never differently.
    assert [line.row().text for line in parts.screen.lines] == [
        line.row().text for line in whole.screen.lines
    ]


def test_what_counts_as_narrow_is_narrow() -> None:
    for code in range(0x10000):
        char = chr(code)
        if char >= " " and char != "\x7f" and cells.is_narrow(char):
            assert wcwidth(char) == 1, hex(code)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30))
@example("❤\ufe0f👩\u200d👧👍🏽🇩🇪")
def test_painted_text_is_as_wide_as_its_cells(text: str) -> None:
    parts = split_cells(text)
    if parts and not cells.char_width(parts[0][0]):
        parts = parts[1:]
    width = len(parts)
    painted = paint.printable("".join(parts), width)
    assert cell_len(painted) == width


@given(st.lists(FRAGMENTS, max_size=10).map(b"".join), st.integers(1, 40))
def test_any_log_line_is_shown_without_controls(data: bytes, width: int) -> None:
    runs = log_line.parse(data)
    for run in runs:
        assert run.text.isprintable() or all(
            char >= " " and not "\x7f" <= char <= "\x9f" for char in run.text
        )
        assert len(split_cells(run.text)) == run.width
    starts = log_line.wrap(runs, width)
    total = sum(run.width for run in runs)
    assert starts[0] == 0
    assert all(
        0 < b - a <= width for a, b in zip(starts, [*starts[1:], max(total, 1)], strict=True)
    )
    assert log_line.rows(data, 0, width) == len(starts)
