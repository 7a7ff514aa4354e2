"""/proc/PID/net/dev, as the kernel writes it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.linux import counters

TEXT = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs ...
    lo:     100       2    0    0    0     0          0         0      100       2    0    0
  tap0:12345678      90    0    0    0     0          0         0      7       1    0    0
  bad: 1 2
"""


def test_links_are_read_in_both_directions() -> None:
    found = counters.parse(TEXT)
    assert found["tap0"] == counters.LinkCounters(12345678, 90, 7, 1)
    assert set(found) == {"lo", "tap0"}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    counters.parse(text)


def test_our_own_links_are_there() -> None:
    assert "lo" in counters.of_process(os.getpid())
    with pytest.raises(OSError, match="No such file"):
        counters.of_process(2**22 + 1)
