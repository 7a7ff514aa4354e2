from __future__ import annotations

import contextlib
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.model import signals


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", signal.SIGTERM),
        ("SIGTERM", signal.SIGTERM),
        ("sigquit", signal.SIGQUIT),
        ("15", 15),
        (" 9 ", 9),
        ("64", 64),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_a_signal_is_a_name_or_a_number(text: str, number: int) -> None:
    assert signals.parse(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-1", "SIG", "NOPE", "RTMIN+99", "RTMAX-99", "²", "1" * 5000]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no signal; use a name like TERM or a number to 64"):
        signals.parse(text)


@given(st.text(max_size=40))
def test_whatever_text_comes_gives_a_signal_or_one_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 1 <= signals.parse(text) <= signals.LAST


@given(st.integers(min_value=1, max_value=64))
def test_a_name_is_read_back(number: int) -> None:
    assert signals.parse(signals.name(number)) == number


def test_a_container_is_stopped_as_its_annotation_says() -> None:
    assert signals.stop_signal({}) == signal.SIGTERM
    assert signals.stop_signal({signals.STOP_SIGNAL: "SIGQUIT"}) == signal.SIGQUIT
