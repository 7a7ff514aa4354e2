"""Standard output: tables that fit, JSON that parses, and a reader who leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vctui.cli.diagnostics import Diagnostics
from vctui.cli.output import Output
from vctui.present.columns import Cell, Column

Row = tuple[str, str, str]


def column(index: int, title: str, priority: int = 0, **attributes: object) -> Column[Row]:
    return Column(
        id=title,
        title=title,
        cell=lambda row, now: Cell(row[index]),
        sort_key=lambda row: row[index],
        width=4,
        priority=priority,
        **attributes,  # type: ignore[arg-type]
    )


COLUMNS = (column(0, "NAME"), column(1, "CPU", align="right"), column(2, "REASON", priority=1))
ROWS = [("web", "1", ""), ("a-longer-name", "16", "the guest kernel panicked" * 5)]


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_columns_are_aligned_and_nothing_is_cut_off_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().table(COLUMNS, ROWS)
    assert shown(capsys) == [
        "NAME           CPU  REASON",
        "web              1",
        f"a-longer-name   16  {ROWS[1][2]}",
    ]


def test_wide_characters_keep_the_alignment(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(COLUMNS, [("日本", "1", "x"), ("abcd", "2", "x")])
    assert shown(capsys)[1:] == ["日本    1  x", "abcd    2  x"]


def pretend_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((24, 80)))
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_terminal_gets_what_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_a_terminal(monkeypatch)
    Output().table(COLUMNS, ROWS)
    lines = shown(capsys)
    assert lines[0] == "NAME           CPU"
    assert all(len(line) <= 24 for line in lines)


def test_what_cannot_go_is_shortened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_a_terminal(monkeypatch)
    Output().table(COLUMNS, [("n" * 60, "1", "")])
    assert shown(capsys)[1] == f"{'n' * 18}…    1"


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_a_terminal(monkeypatch)
    assert Output.painted("running", "state-running") == "running"
    monkeypatch.delenv("NO_COLOR")
    assert Output.painted("running", "state-running") == "\x1b[32mrunning\x1b[0m"
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert Output.painted("running", "state-running") == "running"


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        yield number


async def test_a_stream_is_one_array_or_lines_while_following(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output()
    output.json = True
    await output.stream(numbers(), print, lambda one: {"n": one}, following=False)
    assert json.loads(capsys.readouterr().out) == [{"n": 0}, {"n": 1}, {"n": 2}]
    await output.stream(numbers(), print, lambda one: {"n": one}, following=True)
    assert [json.loads(line) for line in shown(capsys)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_json_shows_a_terminal_nothing_that_it_would_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "\x1b[2J\x9b2J\x7f\u202egnp.exe"
    Output().line({"text": hostile})
    written = capsys.readouterr().out
    assert json.loads(written) == {"text": hostile}
    assert written.isascii()
    assert all(character.isprintable() for character in written.rstrip("\n"))


def test_an_error_that_quotes_a_guest_is_one_harmless_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    diagnostics = Diagnostics()
    diagnostics.error("it said \x1b]0;owned\x07\x1b[31mboo\nerror: no")
    diagnostics.detail("\x9b2J")
    assert capsys.readouterr().err == "error: it said boo error: no\n   2J\n"


def test_a_full_disk_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vctui", "nothing", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot write the output: No space left on device; write it elsewhere\n"
    )


def test_a_reader_who_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vctui", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
