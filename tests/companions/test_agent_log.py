"""Which lines of a console are an agent's, among what the kernel and containers' tools say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.companions.monitor.agent_log import AgentLog, is_entry, is_plain
from vctui.companions.monitor.logfile import LogFile


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
    assert is_plain(line) in {True, False}


def test_of_hyperstart_all_is_taken_that_is_not_the_kernels(tmp_path: Path):
    warnings: list[str] = []
    is_hyperstart = [False]
    file = tmp_path / "agent.log"
    log = AgentLog(
        tmp_path / "port", LogFile(file, 1 << 20, warnings.append), lambda: is_hyperstart[0]
    )
    said = b"parse pod json failed\n[    1.234567] a kernel's\n[   12.345678][  T1] too\n\n"
    log.console_says(said)
    is_hyperstart[0] = True
    log.console_says(said)
    log.close()
    assert [line.split(" ", 1)[1] for line in file.read_text().splitlines()] == [
        "parse pod json failed"
    ]
    assert not warnings
