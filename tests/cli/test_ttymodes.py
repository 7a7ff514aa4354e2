"""What is put back in the operator's terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.cli.ttymodes import TtyModes
from vctui.tui.terminal.emulator import Emulator


def undo(*outputs: bytes) -> bytes:
    modes = TtyModes()
    for output in outputs:
        modes.watch(output)
    return modes.undo()


@pytest.mark.parametrize(
    ("outputs", "switches"),
    [
        ((), b""),
        ((b"plain",), b"\x1b[m"),
        ((b"\x1b[?1049h\x1b[?25l",), b"\x1b[m\x1b[?1049l\x1b[?25h"),
        ((b"\x1b[?1049h", b"\x1b[?1049l"), b"\x1b[m"),
        ((b"\x1b[?10", b"00;1006h"), b"\x1b[m\x1b[?1000l\x1b[?1006l"),
        ((b"\x1b[?2026h\x1b[?12h",), b"\x1b[m"),
        ((b"\x1b[?25h\x1b[?7h",), b"\x1b[m"),
    ],
)
def test_only_what_is_on_is_switched_off(outputs: tuple[bytes, ...], switches: bytes) -> None:
    assert undo(*outputs) == switches


@given(
    st.lists(
        st.sampled_from([1, 5, 25, 1000, 1002, 1004, 1006, 1049, 2004]).flatmap(
            lambda mode: st.sampled_from([b"\x1b[?%dh" % mode, b"\x1b[?%dl" % mode, b"text"])
        ),
        max_size=20,
    ),
    st.integers(1, 9),
)
def test_a_terminal_is_as_before(sequences: list[bytes], step: int) -> None:
    data = b"".join(sequences)
    terminal, fresh = Emulator(), Emulator()
    terminal.feed(data)
    terminal.feed(undo(*(data[at : at + step] for at in range(0, len(data), step))))
    assert terminal.modes == fresh.modes
    assert not terminal.screen.alternate
