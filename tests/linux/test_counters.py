"""/proc/PID/net/dev, as the kernel writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.linux import counters, netns

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


@pytest.mark.root
def test_the_links_of_a_namespace_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "netns"
    netns.create(path)
    try:
        assert set(counters.within(path)) == {"lo"}
    finally:
        netns.remove(path)
    with pytest.raises(OSError, match="No such file"):
        counters.within(path)
