"""Promises of mounts: words to flags, mountinfo, binds that follow no link, clean unmounts."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.linux import mounts

needs_root = pytest.mark.root


def test_words_become_flags_and_data():
    flags, propagation, data = mounts.parse_options(
        ["defaults", "ro", "nosuid", "size=64k", "mode=1777", "rslave"]
    )
    assert flags == mounts.MS_RDONLY | 0x2
    assert propagation == (1 << 19) | mounts.MS_REC
    assert data == "size=64k,mode=1777"


def test_later_words_win():
    assert mounts.parse_options(["ro", "noexec", "rw"])[0] == 0x8


def mountinfo_line(point: str) -> str:
    escaped = "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in point)
    return f"36 35 98:0 / {escaped} rw,noatime master:1 - ext3 /dev/root rw,errors=continue"


paths = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=("Cs", "Cc", "Zl", "Zp")),
    min_size=1,
    max_size=20,
).map(lambda name: "/" + name)


@given(st.lists(paths | st.sampled_from(["/a b", "/tab\there", "/new\nline", "/back\\slash\\040"])))
def test_mountinfo_round_trip(points):
    text = "\n".join(mountinfo_line(point) for point in points)
    assert mounts.parse_mountinfo(text) == tuple(points)


@given(st.text())
def test_any_text_as_mountinfo_is_survived(text):
    mounts.parse_mountinfo(text)


def test_a_line_with_optional_fields_and_one_without_are_both_read():
    text = (
        "1 2 0:1 / /proc rw - proc proc rw\n"
        "3 4 0:2 / /mnt/a\\040b rw shared:5 master:1 propagate_from:2 - tmpfs tmpfs rw\n"
        "5 6 0:3 / relative rw - tmpfs tmpfs rw\n"
        "too short\n"
    )
    assert mounts.parse_mountinfo(text) == ("/proc", "/mnt/a b")


def test_mounts_below_sees_proc():
    assert "/proc" in mounts.mounts_below("/")


@pytest.fixture
def place(tmp_path: Path):
    yield tmp_path
    for point in mounts.mounts_below(tmp_path):
        mounts.unmount(point)
    assert mounts.mounts_below(tmp_path) == ()


@needs_root
def test_bind_of_a_folder_shows_it_and_is_writable(place):
    (place / "source").mkdir()
    mounts.bind(place / "source", place / "share/pod/rootfs", root=place)
    (place / "share/pod/rootfs/file").write_text("seen")
    assert (place / "source/file").read_text() == "seen"


@needs_root
def test_bind_of_a_file_read_only(place):
    (place / "hosts").write_text("localhost")
    mounts.bind(place / "hosts", place / "target", read_only=True)
    assert (place / "target").read_text() == "localhost"
    with pytest.raises(OSError, match="Read-only") as caught:
        (place / "target").write_text("changed")
    assert caught.value.errno == errno.EROFS


@needs_root
def test_bind_resolves_links_of_the_source(place):
    (place / "real").mkdir()
    (place / "real/inside").touch()
    (place / "link").symlink_to("real")
    mounts.bind(place / "link", place / "target")
    assert (place / "target/inside").exists()


@needs_root
@pytest.mark.parametrize("planted", ["share/pod", "share/pod/rootfs"])
def test_bind_does_not_follow_a_link_planted_by_the_guest(place, planted):
    (place / "source").mkdir()
    (place / "elsewhere/rootfs").mkdir(parents=True)
    link = place / planted
    link.parent.mkdir(parents=True)
    link.symlink_to(place / "elsewhere")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        mounts.bind(place / "source", place / "share/pod/rootfs", root=place / "share")
    assert mounts.mounts_below(place) == ()


@needs_root
def test_bind_of_a_missing_source_leaves_no_mount(place):
    with pytest.raises(FileNotFoundError):
        mounts.bind(place / "nothing", place / "target")
    assert not (place / "target").exists()


@needs_root
def test_bind_does_not_take_submounts_along_unless_asked(place):
    (place / "source/inner").mkdir(parents=True)
    mounts.mount("tmpfs", str(place / "source/inner"), "tmpfs")
    (place / "source/inner/file").touch()
    mounts.bind(place / "source", place / "flat")
    mounts.bind(place / "source", place / "deep", recursive=True)
    assert not (place / "flat/inner/file").exists()
    assert (place / "deep/inner/file").exists()


@needs_root
def test_unmount_is_idempotent_and_tells(place):
    (place / "source").mkdir()
    mounts.bind(place / "source", place / "target")
    assert mounts.unmount(place / "target") is True
    assert mounts.unmount(place / "target") is False
    assert mounts.unmount(place / "never/was") is False


@needs_root
def test_unmount_without_lazy_reports_a_busy_mount(place):
    (place / "target").mkdir()
    mounts.mount("tmpfs", str(place / "target"), "tmpfs", ["mode=0700", "size=64k"])
    with (place / "target/open").open("w"), pytest.raises(OSError, match="busy"):
        mounts.unmount(place / "target", lazy=False)
    assert mounts.unmount(place / "target", lazy=False) is True


@needs_root
def test_unmount_below_takes_nested_and_stacked_mounts(place):
    for name in ("a b", "a b/inner", "a b/inner"):
        (place / name).mkdir(exist_ok=True)
        mounts.mount("tmpfs", str(place / name), "tmpfs")
    gone = mounts.unmount_below(place)
    assert [Path(point).name for point in gone] == ["inner", "inner", "a b"]
    assert mounts.mounts_below(place) == ()


@needs_root
def test_mounts_below_does_not_follow_a_link_in_its_own_place(place):
    (place / "outside/mnt").mkdir(parents=True)
    mounts.mount("tmpfs", str(place / "outside/mnt"), "tmpfs")
    (place / "share").symlink_to("outside")
    assert mounts.unmount_below(place / "share") == ()
    assert os.path.ismount(place / "outside/mnt")


@needs_root
def test_a_bind_with_words_is_remounted_with_them(place):
    (place / "source").mkdir()
    (place / "target").mkdir()
    mounts.mount(str(place / "source"), str(place / "target"), "", ["bind", "ro", "private"])
    with pytest.raises(OSError, match="Read-only"):
        (place / "target/file").touch()


@needs_root
def test_a_mount_that_fails_names_its_target(place):
    with pytest.raises(OSError, match="nowhere") as caught:
        mounts.mount("tmpfs", str(place / "nowhere"), "tmpfs")
    assert caught.value.errno == errno.ENOENT
