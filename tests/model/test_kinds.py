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

KINDS = (
    *(AgentType, HypervisorType, NetworkModel, ProxyType, ShimType, SocketType),
    *(kinds.NetInterworkingModel, kinds.EndpointType, kinds.PortProtocol),
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
