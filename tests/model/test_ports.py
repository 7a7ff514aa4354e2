"""Pairs of ports as they are typed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import InvalidInput
from vctui.model.ports import BoundPort, PortPair, parse_pair


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("8080:80", PortPair(8080, 80)),
        ("80", PortPair(80, 80)),
        (":80", PortPair(0, 80)),
        ("0:80", PortPair(0, 80)),
        ("65535:65535", PortPair(65535, 65535)),
    ],
)
def test_a_pair_is_read(text: str, pair: PortPair) -> None:
    assert parse_pair(text) == pair


@pytest.mark.parametrize(
    "text", ["", ":", "0", "80:0", "65536:1", "1:65536", "a:1", "1:2:3", "-1:2", "+1", "٣:1", "1:"]
)
def test_what_is_no_pair_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="for example 8080:80"):
        parse_pair(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        pair = parse_pair(text)
        assert 0 <= pair.host_port <= 65535
        assert 0 < pair.pod_port <= 65535


def test_a_bound_port_is_shown_as_in_a_url() -> None:
    assert BoundPort("127.0.0.1", 8080, 80).where == "127.0.0.1:8080"
    assert BoundPort("::1", 8080, 80).where == "[::1]:8080"
