"""A file is found below a root as who has that root would find it, whatever lies there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vctui.guest.rooted import open_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("outside")
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_text("inside")
    os.mkfifo(root / "pipe")
    for name, target in {
        "absolute": "/file",
        "up": "../../../file",
        "away": str(tmp_path / "outside"),
        "away2": "../outside",
        "process": f"/proc/{os.getpid()}/root{tmp_path}/outside",
        "loop": "loop",
        "new": "/folder/made",
        "folder/back": "..",
    }.items():
        (root / name).symlink_to(target)
    (root / "proc").symlink_to("/proc")
    return root


def read(root: Path, path: str) -> str:
    with open(open_file(str(root), path)) as file:  # noqa: PTH123 - of a descriptor
        return file.read()


@pytest.mark.parametrize(
    "path", ["/file", "file", "//./file", "/../../file", "/absolute", "/up", "/folder/back/file"]
)
def test_it_is_found(root: Path, path: str):
    assert read(root, path) == "inside"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/none", errno.ENOENT),
        ("/away", errno.ENOENT),
        ("/away2", errno.ENOENT),
        ("/process", errno.ELOOP),  # by /proc, which is a link to itself there
        ("/loop", errno.ELOOP),
        ("/folder", errno.EISDIR),
        ("/file/", errno.ENOTDIR),
        ("/", errno.EISDIR),
        ("", errno.EISDIR),
        ("/file/x", errno.ENOTDIR),
        ("/pipe", errno.EINVAL),
    ],
)
@pytest.mark.parametrize("write", [False, True])
def test_what_is_no_file_there_is_an_error(root: Path, path: str, number: int, write: bool):
    if write and path in {"/none", "/away2"}:  # these can be made, below the root
        os.close(open_file(str(root), path, write=True))
        assert (root / {"/none": "none", "/away2": "outside"}[path]).read_bytes() == b""
    else:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number below
            open_file(str(root), path, write=write)
        assert caught.value.errno == number
    assert (root.parent / "outside").read_text() == "outside"


def test_links_of_the_kernel_lead_by_their_text(tmp_path: Path):
    """`/proc/PID/root` is another's root to the kernel; here it is the link's text."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number below
        open_file("/proc", f"{os.getpid()}/root/etc/passwd")
    assert caught.value.errno == errno.ENOENT  # in /proc, as its root


def test_a_file_is_emptied_and_keeps_its_mode_or_made(root: Path):
    (root / "file").chmod(0o750)
    for path, name in (("/file", "file"), ("/new", "folder/made")):
        with open(open_file(str(root), path, write=True), "w") as file:  # noqa: PTH123
            file.write("x")
        assert (root / name).read_text() == "x"
    assert (root / "file").stat().st_mode & 0o7777 == 0o750
    assert (root / "new").is_symlink()


def test_no_descriptor_is_left(root: Path):
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for path in ("/none", "/folder/back/folder", "/loop", "/pipe", "/file/x"):
        with pytest.raises(OSError):  # noqa: PT011 - any
            open_file(str(root), path)
    os.close(open_file(str(root), "/folder/back/up"))
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
