"""`vctui container cp`: which side is which, and what becomes of the host's file."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Cli
from vctui.cli import places
from vctui.cli.places import Inside, parse
from vctui.engine import copying
from vctui.errors import FileProblem

IDS = st.text(st.characters(exclude_characters=":/", codec="utf-8"), min_size=1, max_size=20)


@pytest.fixture
def running(cli: Cli, web: Path) -> Cli:
    assert cli("pod", "run", str(web)).status == 0
    return cli


@given(IDS, IDS, st.text())
def test_what_names_a_container_is_read_back(pod: str, container: str, path: str):
    assert parse(f"{pod}:{container}:/{path}") == Inside(pod, container, f"/{path}")


@given(st.text())
def test_whatever_is_typed_is_a_place_or_an_error(text: str):
    try:
        found = parse(text)
    except ValueError:
        assert not isinstance(parse(f"./{text}"), Inside)
        return
    assert (":".join(found) if isinstance(found, Inside) else found) == text


@pytest.mark.parametrize("text", ["-", "a", "a:b", "web:/etc/x", "./a:b:/c", "/a:b:/c", "a::/b"])
def test_what_is_of_the_host(text: str):
    assert parse(text) == text


def test_files_go_in_and_out(running: Cli, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    result = running("container", "cp", str(file), "w:ma:/tmp/")
    assert (result.status, result.out) == (0, "web:main:/tmp/file: 5 bytes\n")
    told = running("container", "cp", "--json", "w:ma:/tmp/x", str(tmp_path)).document
    made = str(tmp_path / "x")
    place = {"pod_id": "web", "id": "main", "path": "/tmp/x"}
    assert told == {**place, "file": made, "bytes": 0}
    assert (tmp_path / "x").read_bytes() == b""


def test_standard_input_goes_in(running: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\0\xff")))
    assert running("container", "cp", "-", "web:main:/x").out == "web:main:/x: 2 bytes\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "b"), "one of SRC and DST"),
        (("web:main:/a", "web:main:/b"), "one of SRC and DST"),
        (("-", "web:main:/tmp/"), "names a folder"),
        (("/", "web:main:/tmp/"), "names a folder"),
        (("a", "web:main:b"), "no absolute path"),
        (("--json", "web:main:/a", "-"), "cannot both go to standard output"),
    ],
)
def test_wrong_usage(running: Cli, words: tuple[str, ...], said: str):
    result = running("container", "cp", *words)
    assert result.status == 2
    assert said in result.out + result.err


def test_what_cannot_be_is_one_sentence_and_leaves_no_file(running: Cli, tmp_path: Path):
    for words, said in (
        ((str(tmp_path / "none"), "web:main:/x"), "No such file"),
        ((str(tmp_path), "web:main:/x"), "Is a directory"),
        (("web:main:/x", "/dev/null"), "/dev/null is no file"),
        (("web:main:/x", str(tmp_path / "none/x")), "No such file"),
        (("web:none:/x", str(tmp_path / "out")), "no container 'none'"),
        ((__file__, "web:main:/" + "x" * 4096), "at most 4095 bytes"),
        (("web:main:/a\udcff", str(tmp_path / "out")), "in UTF-8"),
    ):
        result = running("container", "cp", *words)
        assert (result.status, result.out) == (1, "")
        assert result.err.count("\n") == 1
        assert said in result.err
    assert not (tmp_path / "out").exists()
    running("container", "stop", "web", "main")
    assert "it must be running" in running("container", "cp", "web:main:/x", "-").err


def test_a_long_file_is_refused_with_the_limit(
    running: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copying, "MAX_FILE", 1024**2)
    (tmp_path / "long").write_bytes(bytes(1024**2))
    assert running("container", "cp", str(tmp_path / "long"), "web:main:/x").status == 0
    (tmp_path / "long").write_bytes(bytes(1024**2 + 1))
    result = running("container", "cp", str(tmp_path / "long"), "web:main:/x")
    assert result.status == 1
    assert "longer than 1 MiB" in result.err


def test_read_only_copies_out_and_not_in(running: Cli, tmp_path: Path):
    assert running("--read-only", "container", "cp", "web:main:/x", str(tmp_path / "x")).status == 0
    result = running("--read-only", "container", "cp", str(tmp_path / "x"), "web:main:/x", "--json")
    assert result.document["error"]["kind"] == "read-only"


def test_a_file_of_the_host_keeps_its_mode_and_links_to_it(tmp_path: Path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    assert places.write(str(link), b"new", "/x") == link
    assert link.is_symlink()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o640)
    with pytest.raises(FileProblem, match="is no file"):
        places.write("/dev/null", b"", "/x")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("w", ["plain,web:main:/", "file,w"]), ("x", ["file,x"])],
)
def test_files_of_both_sides_are_completed(
    running: Cli,
    folders: list[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    offered: list[str],
) -> None:
    monkeypatch.setenv("_VCTUI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["vctui", *folders, "container", "cp", typed]))
    monkeypatch.setenv("COMP_CWORD", str(len(folders) + 3))
    assert running().out.split() == offered
