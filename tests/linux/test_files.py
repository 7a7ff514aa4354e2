"""Promises of files: private folders, whole writes, tails, copies, removals, safe joins."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import DiskFull, HostProblem, PermissionProblem
from vctui.linux import files, mounts, paths, probe, trees
from vctui.linux.problems import host_problem


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_private_folders_are_private_and_those_that_exist_stay_as_they_are(tmp_path):
    tmp_path.chmod(0o755)
    files.private_dir(tmp_path / "a/b")
    files.private_dir(tmp_path / "a/b")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a/b")]
    assert modes == [0o755, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.private_dir(tmp_path / "file")


def test_an_atomic_write_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, b"one")
    files.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tree(tmp_path) == {"file"}


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, b"one")
    with pytest.raises(TypeError):
        files.write_atomic(path, "no bytes")
    assert path.read_bytes() == b"one"
    assert tree(tmp_path) == {"file"}


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\r", b"")), st.integers(0, 8))
def test_tail_gives_the_last_lines(tmp_path_factory, data, lines):
    path = tmp_path_factory.mktemp("tail") / "file"
    path.write_bytes(data)
    whole = data.removesuffix(b"\n").split(b"\n") if data else []
    assert files.tail(path, lines) == (whole[-lines:] if lines else [])


def test_tail_of_a_big_file_is_bounded(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000 + b"\nlast\n")
    assert files.tail(path, 1) == [b"last"]
    assert len(files.tail(path, 2, limit=1000)[0]) < 1000
    assert files.tail(tmp_path / "missing", 3) == []


def test_room_of_a_folder_that_is_not_there_yet(tmp_path):
    assert files.room(tmp_path / "not/yet") > 0


async def test_a_copy_keeps_links_modes_and_hard_links(tmp_path):
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin/tool").write_text("tool")
    (source / "bin/tool").chmod(0o4755)
    os.link(source / "bin/tool", source / "bin/hard")
    (source / "soft").symlink_to("/etc/passwd")
    (source / "broken").symlink_to("nowhere")
    target = tmp_path / "target"
    await trees.copy_tree(source, target)
    assert tree(target) == {"bin", "bin/tool", "bin/hard", "soft", "broken"}
    assert (target / "soft").readlink() == Path("/etc/passwd")
    assert stat.S_IMODE((target / "bin/tool").stat().st_mode) == 0o4755
    assert (target / "bin/tool").samefile(target / "bin/hard")
    assert not (target / "bin/tool").samefile(source / "bin/tool")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


async def test_a_copy_of_nothing_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(HostProblem, match="cannot copy"):
        await trees.copy_tree(tmp_path / "missing", tmp_path / "target")
    assert tree(tmp_path) == set()


@pytest.mark.root
async def test_a_copy_to_a_full_disk_leaves_nothing(tmp_path):
    source, place = tmp_path / "source", tmp_path / "full"
    source.mkdir()
    place.mkdir()
    (source / "big").write_bytes(b"x" * 1_000_000)
    mounts.mount("tmpfs", str(place), "tmpfs", ["size=256k"])
    try:
        with pytest.raises(DiskFull):
            await trees.copy_tree(source, place / "target")
        assert tree(place) == set()
    finally:
        mounts.unmount(place)


def test_removal_does_not_follow_links_and_is_idempotent(tmp_path):
    (tmp_path / "kept/inner").mkdir(parents=True)
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for _ in range(2):
        trees.remove_tree(tmp_path / "gone")
        trees.remove_tree(tmp_path / "link")
    assert tree(tmp_path) == {"kept", "kept/inner"}


@pytest.mark.root
def test_removal_stops_before_what_is_mounted(tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/precious").touch()
    mounts.bind(tmp_path / "host", tmp_path / "share/inner", root=tmp_path)
    (tmp_path / "share/other").touch()
    with pytest.raises(OSError, match="busy"):
        trees.remove_tree(tmp_path / "share")
    mounts.unmount(tmp_path / "share/inner")
    assert (tmp_path / "host/precious").exists()
    assert (tmp_path / "share/other").exists()
    trees.remove_tree(tmp_path / "share")


@pytest.mark.parametrize("relative", ["/etc", "../x", "a/../../x", "a\0b", ".."])
def test_a_path_that_leaves_its_root_is_refused(relative):
    with pytest.raises(ValueError, match="below its root"):
        paths.split_below(relative)


@given(st.text())
def test_what_is_not_refused_is_below_its_root(relative):
    try:
        parts = paths.split_below(relative)
    except ValueError:
        return
    normal = os.path.normpath("/".join(("/some/root", *parts)))
    assert normal == "/some/root" or normal.startswith("/some/root/")


def test_a_folder_is_not_reached_through_a_link(tmp_path):
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    with paths.opened_folder(tmp_path, "real/inner") as fd:
        assert Path(f"/proc/self/fd/{fd}").readlink() == tmp_path / "real/inner"
    with pytest.raises(NotADirectoryError), paths.opened_folder(tmp_path, "link/inner"):
        pass
    before = open_descriptors()
    with pytest.raises(NotADirectoryError), paths.opened_folder(tmp_path, "link/x", create=True):
        pass
    assert open_descriptors() == before
    assert not (tmp_path / "real/x").exists()


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (28, DiskFull, "No space left on device; make room"),
        (122, DiskFull, "Disk quota exceeded; make room"),
        (1, PermissionProblem, "Operation not permitted; run vctui as root"),
        (13, PermissionProblem, "Permission denied; run vctui as root"),
        (5, HostProblem, "Input/output error"),
    ],
)
def test_what_the_kernel_said_becomes_a_sentence(number, kind, words):
    problem = host_problem(OSError(number, "x"), "write /a/b")
    assert type(problem) is kind
    assert str(problem).startswith("cannot write /a/b: ")
    assert words in str(problem)


def test_programs_are_found_by_name_and_by_path(tmp_path):
    tool = tmp_path / "tool"
    tool.touch()
    assert probe.find_program(str(tool)) is None
    tool.chmod(0o755)
    assert probe.find_program(str(tool)) == tool
    assert probe.find_program("sh") is not None
    assert probe.find_program("no-such-program") is None


def test_facts_about_this_machine():
    assert len(probe.boot_id()) == 36
    total, available = probe.memory_mib()
    assert total >= available > 0
    assert not probe.has_module("no_such_module")
    assert "there is no" in probe.device_problem(Path("/dev/no-such-device"))
    assert probe.device_problem(Path("/dev/null")) == ""
    assert probe.is_root() == (os.geteuid() == 0)
    probe.can_use_netns()
    assert "sh" in probe.programs_in((Path("/bin"), Path("/nowhere")))
