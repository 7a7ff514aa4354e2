from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.present import humanize


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h00m"),
        (3900, "1h05m"), (36000, "10h"), (47 * 3600, "47h"), (48 * 3600, "2d"),
        (900 * 86400, "900d"),
    ],
)  # fmt: skip
def test_durations_read_like_a_person_says_them(seconds: float, words: str) -> None:
    assert humanize.duration(timedelta(seconds=seconds)) == words


@given(st.floats(min_value=-1e6, max_value=1e9))
def test_a_duration_fits_its_column(seconds: float) -> None:
    assert len(humanize.duration(seconds)) <= 6


def test_an_age_without_a_beginning_is_a_dash() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert humanize.age(None, now) == "-"
    assert humanize.age(now - timedelta(seconds=5), now) == "5s"


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (256 * 2**20, "256 MiB")],
)
def test_sizes_have_binary_units(count: int, words: str) -> None:
    assert humanize.size(count) == words


@pytest.mark.parametrize(
    ("foreign", "safe"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]52;c;AAAA\x1b\\clip", "clip"),
        ("\x9b31mcsi", " 31mcsi"),
        ("two\nlines", "two lines"),
        ("left\u202eright", "left right"),
        ("\x1b", ""),
    ],
)
def test_foreign_text_loses_what_a_terminal_would_obey(foreign: str, safe: str) -> None:
    assert humanize.plain(foreign) == safe


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_plain_text_is_one_short_printable_line(text: str, limit: int) -> None:
    safe = humanize.plain(text, limit)
    assert len(safe) <= limit
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in safe)


def test_long_text_is_cut_with_a_mark() -> None:
    assert humanize.plain("x" * 100, 10) == "x" * 9 + "…"
