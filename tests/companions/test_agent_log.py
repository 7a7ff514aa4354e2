"""Which lines of a console are an agent's, among what the kernel and containers' tools say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.companions.monitor.agent_log import is_entry


@pytest.mark.parametrize(
    "line",
    [
        b'time="2020-05-05T10:00:00.123456789Z" level=debug msg=x name=kata-agent pid=1',
        b'time="2020-05-05T10:00:00+02:00" level=info msg=x pid=1 source=agent\r',
        b'announce: agent-version="1.12.1",api-version="0.0.1"',
        b'{"msg":"x","level":"INFO","ts":"2024","name":"kata-agent","source":"agent"}\r',
        b'{"level": "debug", "source": "agent", "msg": "x"}',
        b'{"level":"info","msg":"x","name":"cc-agent"}',
    ],
)
def test_entries_are_known(line: bytes):
    assert is_entry(line)


@pytest.mark.parametrize(
    "line",
    [
        b"[    1.234567] Run /init as init process",
        b"",
        b'{"msg":"x","name":"somebody"}',
        b'time="2020-05-05T10:00:00Z" level=info msg="x" name=another',
        b"time= level= name=kata-agent",
    ],
)
def test_what_others_say_is_not_taken(line: bytes):
    assert not is_entry(line)


@given(st.binary(max_size=200))
def test_any_line_is_looked_at(line: bytes):
    assert is_entry(line) in {True, False}
