"""The API's words: each is parsed to the letter, and what is refused is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import InvalidConfig
from vctui.model import kinds
from vctui.model.kinds import (
    AgentType,
    HypervisorType,
    NetworkModel,
    ProxyType,
    ShimType,
    SocketType,
    parse,
)
from vctui.model.podfile import Format, parse_pod

KINDS = (
    *(AgentType, HypervisorType, NetworkModel, ProxyType, ShimType, SocketType),
    *(kinds.NetInterworkingModel, kinds.EndpointType),
    *(kinds.MachineType, kinds.Accelerator, kinds.ProcessListFormat),
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_printed_as_the_word_that_it_is_parsed_from(kind):
    for member in kind:
        assert parse(kind, str(member)) is member


@pytest.mark.parametrize("kind", KINDS)
@given(word=st.text(max_size=20))
def test_every_other_word_is_refused_with_those_that_are_accepted(kind, word: str):
    accepted = [str(member) for member in kind]
    if word in accepted:
        return
    with pytest.raises(InvalidConfig) as refused:
        parse(kind, word)
    assert all(one in str(refused.value) for one in accepted)


@pytest.mark.parametrize("word", ["QEMU", " qemu", "qemu\n", ""])
def test_words_match_exactly(word: str):
    with pytest.raises(InvalidConfig, match="use one of qemu, mock"):
        parse(HypervisorType, word)


@pytest.mark.parametrize(("kind", "words"), kinds.NOT_YET.items())
def test_words_of_the_api_that_are_not_supported_yet_are_refused_as_such(kind, words):
    for word in words:
        assert word not in [str(member) for member in kind]
        with pytest.raises(InvalidConfig, match="word of the API that vctui does not support yet"):
            parse(kind, word)


@pytest.mark.parametrize(
    ("key", "word"),
    [("network_model", "CNI")],
)
def test_a_pod_file_is_told_the_same(key: str, word: str, tmp_path):
    with pytest.raises(InvalidConfig) as refused:
        parse_pod(
            f'id = "web"\n{key} = "{word}"',
            Format.TOML,
            source="web.toml",
            base_dir=tmp_path,
            defaults={},
        )
    assert str(refused.value).startswith(f"web.toml: {key} must be ")
    assert f"{word} is a word of the API that vctui does not support yet" in str(refused.value)
