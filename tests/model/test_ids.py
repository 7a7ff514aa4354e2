"""What a legal id is, and what a prefix of one means."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import AmbiguousId, InvalidId, NotFound
from vctui.model import ids

LEGAL = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{1,62}\Z")


@given(LEGAL)
def test_a_legal_id_is_returned_as_it_is(name: str) -> None:
    assert ids.check("pod", name) == name


@given(st.text())
def test_whatever_is_accepted_is_one_safe_path_component(name: str) -> None:
    try:
        ids.check("pod", name)
    except InvalidId:
        return
    assert 2 <= len(name) <= ids.MAX_LENGTH
    assert name[0] in string.ascii_letters + string.digits
    assert not set(name) - set(string.ascii_letters + string.digits + "_.-")


@pytest.mark.parametrize(
    "name", ["", "a", ".", "..", "-a", "_a", ".a", "a/b", "a b", "a\n", "ab\n", "ä1", "a" * 64]
)
def test_an_illegal_id_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidId, match="is not a legal container id: use 2 to 63 letters"):
        ids.check("container", name)


@given(st.sets(LEGAL, min_size=1), st.data())
def test_a_whole_id_names_itself_even_where_it_begins_others(
    known: set[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(known)))
    assert ids.resolve("pod", name, known | {f"{name}x"}) == name


@given(st.sets(LEGAL), st.text(max_size=3))
def test_a_prefix_resolves_to_the_only_id_that_has_it_or_not_at_all(
    known: set[str], prefix: str
) -> None:
    fits = [name for name in known if name == prefix or (prefix and name.startswith(prefix))]
    try:
        found = ids.resolve("pod", prefix, known)
    except NotFound:
        assert not fits
    except AmbiguousId:
        assert len(fits) > 1
        assert prefix not in known
    else:
        assert found == prefix or fits == [found]


def test_an_ambiguous_prefix_shows_what_it_fits() -> None:
    with pytest.raises(AmbiguousId, match=r"'we' fits 5 \(web1, web2, web3, web4, …\)"):
        ids.resolve("pod", "we", ["web3", "web1", "web2", "web5", "web4"])


def test_tokens_are_legal_ids_and_never_the_same() -> None:
    tokens = {ids.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(ids.check("process", token) for token in tokens)
