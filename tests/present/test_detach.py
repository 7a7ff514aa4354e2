"""The keys that leave a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import InvalidConfig
from vctui.present.detach import DetachKeys, parse


@pytest.mark.parametrize(
    ("spec", "sequence"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-P, ctrl-q", b"\x10\x11"),
        ("ctrl-]", b"\x1d"),
        ("ctrl-@,ctrl-\\,ctrl-^,ctrl-_,ctrl-[", b"\x00\x1c\x1e\x1f\x1b"),
        ("~,.", b"~."),
        ("Q", b"Q"),
        ("", b""),
    ],
)
def test_keys_as_docker_spells_them(spec: str, sequence: bytes) -> None:
    assert parse(spec) == sequence


@pytest.mark.parametrize("spec", ["ctrl-", "ctrl-pp", "ctrl-1", "p,,q", "esc", "é", ","])
def test_what_is_no_key_is_named(spec: str) -> None:
    with pytest.raises(InvalidConfig, match=r"console\.detach_keys"):
        parse(spec)


def test_the_sequence_is_found_and_not_passed_on() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.holding
    assert keys.feed(b"\x11rest") == (b"", True)
    assert not keys.holding


def test_its_beginning_is_passed_on_when_it_does_not_go_on() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"x") == (b"\x10x", False)
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"\x10") == (b"\x10", False)
    assert keys.flush() == b"\x10"
    assert keys.flush() == b""


def test_a_sequence_that_begins_like_itself() -> None:
    assert DetachKeys(b"aab").feed(b"aaab") == (b"a", True)


@given(st.lists(st.sampled_from([b"\x10", b"\x11", b"x", b"\x10\x11"]), max_size=12))
def test_everything_before_the_sequence_is_passed_on(typed: list[bytes]) -> None:
    keys = DetachKeys(b"\x10\x11")
    passed, left = b"", False
    for data in typed:
        more, left = keys.feed(data)
        passed += more
        if left:
            break
    before, found, _ = b"".join(typed).partition(b"\x10\x11")
    assert left == bool(found)
    assert passed + keys.flush() == before
