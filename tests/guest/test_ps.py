from __future__ import annotations

import contextlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import AgentError
from vctui.guest import ps
from vctui.guest.procfs import Entry, entries, handles

STAT = (
    b"200 (a (b) c) S 100 200 200 34816 200 4194304 100 0 0 0 250 50 0 0 20 0 1 0 4000 "
    b"2260992 104 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
)
STATUS = (
    "Name:\ta (b) c\nUid:\t0\t1000\t0\t0\nGid:\t0\t100\t0\t0\n"
    "NSpid:\t200\t1\nNSpgid:\t200\t1\nNSsid:\t200\t1\n"
)
HOST = ps.Host(now=1100.0, memory=100_000, users={1000: "ann"})


def entry(cmdline: bytes = b"a\0b c\0") -> Entry:
    return Entry(STAT, STATUS, cmdline, 1000.0)


def columns(args: list[str]) -> list[list[str]]:
    text = ps.table([entry()], HOST, args).decode()
    return [line.split() for line in text.splitlines()]


def test_what_the_kernel_tells() -> None:
    found = entry()
    assert (found.pid, found.guest_pid, found.guest_ppid) == (1, 200, 100)
    assert (found.name, found.args, found.state, found.uid) == ("a (b) c", "a b c", "S", 1000)
    assert (found.cpu, found.started) == (3.0, 1040.0)
    assert entry(b"").args == "[a (b) c]"


def test_the_full_table() -> None:
    heading, row = columns(["-ef"])
    assert heading == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert row[:3] == ["ann", "1", "0"]
    assert row[5:7] == ["pts/0", "00:00:03"]


def test_the_users_table() -> None:
    heading, row = columns(["aux"])
    assert heading[:4] == ["USER", "PID", "%CPU", "%MEM"]
    assert row[:4] == ["ann", "1", "5.0", "0.4"]


def test_chosen_columns() -> None:
    assert columns(["-o", "pid,user=WHO"]) == [["PID", "WHO"], ["1", "ann"]]
    assert columns(["-o", "pid=,comm="]) == [["1", "a", "(b)", "c"]]
    assert columns(["-eo", "etime"]) == [["ELAPSED"], ["01:00"]]
    assert columns(["-o", "pid", "-o", "rss"])[0] == ["PID", "RSS"]
    assert columns(["--format=ppid"])[0] == ["PPID"]


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["-Z"], "-Z"),
        (["-o"], "-o"),
        (["-o", "nonsense"], "nonsense"),
        (["-o", ""], "-o"),
        (["x; rm"], "x; rm"),
        ([""], "''"),
    ],
)
def test_what_is_not_understood_is_named(args: list[str], named: str) -> None:
    with pytest.raises(AgentError, match="is not understood") as caught:
        ps.parse(args)
    assert named in str(caught.value)
    assert caught.value.code == 3


@given(st.lists(st.text(max_size=8), max_size=4))
def test_any_arguments_give_columns_or_an_error(args: list[str]) -> None:
    with contextlib.suppress(AgentError):
        ps.table([entry()], HOST, args)


def test_json() -> None:
    found = json.loads(ps.listing([entry()], HOST))
    assert found == [
        {
            "pid": 1,
            "ppid": 0,
            "guest_pid": 200,
            "user": "ann",
            "state": "S",
            "cpu_ms": 3000,
            "rss_kib": 416,
            "started": 1040,
            "args": "a b c",
        }
    ]


@given(st.binary(max_size=200))
def test_hostile_names_and_arguments_stay_on_their_line(cmdline: bytes) -> None:
    text = ps.table([entry(cmdline)], HOST, ["-o", "args"])
    assert text.count(b"\n") == 2
    assert b"\x1b" not in text
    assert len(json.loads(ps.listing([entry(cmdline)], HOST))) == 1


@given(st.binary(max_size=100), st.text(max_size=100))
def test_garbage_is_no_entry(stat: bytes, status: str) -> None:
    with pytest.raises((ValueError, IndexError, KeyError)):
        Entry(stat, status, b"", 0.0)


def test_living_processes() -> None:
    own, gone = os.getpid(), 2**22 + 1
    found = entries([own, gone])
    assert [each.guest_pid for each in found] == [own]
    assert "py" in found[0].args
    assert handles(own, 2)  # Python has a handler for SIGINT
    assert not handles(gone, 2)
