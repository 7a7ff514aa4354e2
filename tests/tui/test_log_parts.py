"""What the log view is made of: ring, layout, lines, search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.model.logs import LogLine
from vctui.tui.terminal.cells import PLAIN, Run, Style
from vctui.tui.widgets import log_line, log_tab, log_view
from vctui.tui.widgets.log_layout import Layout
from vctui.tui.widgets.log_ring import MAX_LINE, LogRing
from vctui.tui.widgets.log_search import Match, Search


def lines(*texts: str) -> list[LogLine]:
    return [LogLine(text=text.encode()) for text in texts]


def texts(ring: LogRing) -> list[bytes]:
    return [line.text for line in ring.lines(ring.first)]


@given(
    st.lists(st.lists(st.binary(max_size=20), max_size=8)), st.integers(1, 9), st.integers(20, 60)
)
def test_the_ring_keeps_the_newest_within_its_bounds(
    batches: list[list[bytes]], max_lines: int, max_bytes: int
) -> None:
    ring = LogRing(max_lines, max_bytes)
    everything: list[bytes] = []
    for batch in batches:
        before = ring.end
        changed = ring.append([LogLine(text=text) for text in batch])
        everything += batch
        assert ring.end == len(everything)
        assert changed == max(before, ring.first)
        kept = texts(ring)
        assert kept == everything[ring.first :]
        assert len(kept) <= max_lines
        assert sum(map(len, kept)) <= max_bytes
    with pytest.raises(IndexError):
        ring[ring.end]
    with pytest.raises(IndexError):
        ring[ring.first - 1]


def test_partial_lines_go_on_in_the_same_place() -> None:
    ring = LogRing()
    ring.append([LogLine(text=b"log", partial=True, stream="stdout")])
    assert ring.append([LogLine(text=b"in: ", partial=True, stream="stdout")]) == 0
    assert ring.append([LogLine(text=b"err", stream="stderr")]) == 1
    assert ring.append([LogLine(text=b"x", stream="stdout")]) == 2
    assert texts(ring) == [b"login: ", b"err", b"x"]


def test_a_line_is_cut_and_does_not_grow_beyond_its_bound() -> None:
    ring = LogRing(10)
    ring.append([LogLine(text=b"x" * (MAX_LINE + 1), partial=True)])
    for _ in range(20):
        ring.append([LogLine(text=b"y" * 1000, partial=True)])
    assert max(map(len, texts(ring))) == MAX_LINE
    assert len(ring) == 4


def test_skipped_lines_are_counted_and_end_what_was_before() -> None:
    ring = LogRing(5)
    ring.append(lines("a", "b"))
    ring.skip(10)
    assert (ring.first, len(ring)) == (12, 0)
    ring.append(lines("c"))
    assert ring[12].text == b"c"
    ring.clear()
    assert (ring.first, ring.end) == (0, 0)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_every_row_belongs_to_its_line(heights: list[int], dropped: int, cut: int) -> None:
    layout = Layout(first_line=7)
    layout.extend(heights)
    layout.cut(7 + cut)
    heights = heights[:cut]
    dropped = min(dropped, len(heights))
    assert layout.drop(7 + dropped) == sum(heights[:dropped])
    expected = [
        (7 + line, part)
        for line, height in enumerate(heights)
        if line >= dropped
        for part in range(height)
    ]
    rows = range(layout.first_row, layout.end_row)
    assert [layout.line_at(row) for row in rows] == expected
    assert layout.line_at(layout.first_row - 1) is None
    assert layout.line_at(layout.end_row) is None
    assert all(
        layout.row_of(line) + part == row for row, (line, part) in zip(rows, expected, strict=True)
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b"", ""),
        (b"a\tb", "a       b"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07x\x1b[2J\x1b[5;5Hy", "xy"),
        (b"10%\r50%\r100%", "100%"),
        (b"with a return\r", "with a return"),
        ("ümläut \x9b31m".encode(), "ümläut 31m"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u0301a".encode(), "a"),
        (b"a\x1b[", "a"),
    ],
)
def test_lines_are_shown_without_control_sequences(data: bytes, text: str) -> None:
    assert log_line.text(data) == text


def test_colours_are_kept() -> None:
    runs = log_line.parse(b"a\x1b[1;31mb")
    assert runs[0] == Run("a", 1, PLAIN)
    assert runs[1].style.foreground == 1


def test_wrapping_cuts_no_wide_character() -> None:
    runs = (Run("a日本語", 7, Style()),)
    assert log_line.wrap(runs, 4) == [0, 3]
    assert log_line.rows("a日本語".encode(), 0, 4) == 2
    assert log_line.rows(b"x" * 10, 3, 4) == 4
    assert log_line.rows(b"", 0, 4) == 1


def test_search_goes_round_in_both_directions() -> None:
    ring = LogRing()
    ring.append(lines("one", "two one", "three"))
    search = Search("one")
    first = search.find(ring, (0, -1), 1)
    assert first == Match(0, 0, 3)
    assert search.find(ring, (0, 0), 1) == Match(1, 4, 7)
    assert search.find(ring, (1, 4), 1) == first
    assert search.find(ring, (0, 0), -1) == Match(1, 4, 7)
    assert search.find(ring, (1, 4), -1) == first
    assert Search("four").find(ring, (0, -1), 1) is None


def test_a_single_match_is_found_again() -> None:
    ring = LogRing()
    ring.append(lines("needle"))
    assert Search("needle").find(ring, (0, 0), 1) == Match(0, 0, 6)


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        ("err", "An ERR", [(3, 6)]),
        ("Err", "An ERR", []),
        (r"\d+", "a1 22", [(1, 2), (3, 5)]),
        ("[", "a[b", [(1, 2)]),
        ("x*", "xxy", [(0, 2)]),
        ("red", "\x1b[31mr\x1b[1med", [(0, 3)]),
        ("31", "\x1b[31mred", []),
    ],
)
def test_what_a_search_finds(pattern: str, text: str, spans: list[tuple[int, int]]) -> None:
    assert Search(pattern).spans(LogLine(text=text.encode())) == spans


def test_lines_that_were_left_out_are_told_where_they_were() -> None:
    batch = [LogLine(text=b"one"), LogLine(text=b"nine", skipped=1234), LogLine(text=b"ten")]
    shown = log_tab._with_gaps(batch)
    assert [line.text for line in shown] == [
        b"one",
        b"1,234 lines came too fast to be shown here; the log has them",
        b"nine",
        b"ten",
    ]
    assert shown[1].stream == log_view.NOTE
    assert log_tab._with_gaps(batch[:1]) == batch[:1]
