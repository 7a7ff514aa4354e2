"""The current guest is found without apt, and refused where it does not fit any more."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from vctui.errors import FileProblem, GuestNotBuilt
from vctui.image import builder, current, rootfs
from vctui.image.manifest import Manifest, Output
from vctui.settings import Settings

_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_ERRORS = Path(current.__file__).parent.parent / "errors.py"


def _manifest(key: str, **changes: object) -> Manifest:
    made = Manifest(
        name="debian",
        key=key,
        created=_NOW,
        kernel="vmlinux",
        initrd="initrd",
        root_initrd="root-initrd",
        kernel_release="6.1",
        python_version="3.11",
        kernel_params=("quiet",),
        min_memory=128,
        packages={},
        outputs={"vmlinux": Output(size=3, sha256=""), "initrd": Output(size=2, sha256="")},
        sources={"errors.py": hashlib.sha256(_ERRORS.read_bytes()).hexdigest()},
        builder=current.builder_fingerprint(),
    )
    return msgspec.structs.replace(made, **changes)


def _put(settings: Settings, manifest: Manifest, *, point: bool = True) -> Path:
    folder = current.guests_folder(settings) / manifest.key
    (folder / "rootfs" / "busybox").mkdir(parents=True)
    (folder / "vmlinux").write_bytes(b"abc")
    (folder / "initrd").write_bytes(b"de")
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    if point:
        current.pointer(settings).write_text(f"{manifest.key}\n")
    return folder


def test_a_guest_is_found_with_absolute_paths(own_settings: Settings) -> None:
    folder = _put(own_settings, _manifest("a1"))
    found = builder.current_guest(own_settings)
    assert (found.key, found.kernel, found.initrd) == (
        "a1",
        str(folder / "vmlinux"),
        str(folder / "initrd"),
    )
    assert rootfs.rootfs_template(own_settings, "busybox") == folder / "rootfs" / "busybox"


def test_without_any_guest_the_remedy_is_named(own_settings: Settings) -> None:
    with pytest.raises(GuestNotBuilt, match="vctui guest build"):
        builder.current_guest(own_settings)
    with pytest.raises(GuestNotBuilt, match="vctui guest build"):
        rootfs.rootfs_template(own_settings, "busybox")
    assert builder.list_guests(own_settings) == []


@pytest.mark.parametrize("name", ["vmlinux", "initrd", "manifest.json"])
def test_a_guest_that_lacks_a_file_is_refused(own_settings: Settings, name: str) -> None:
    folder = _put(own_settings, _manifest("a1"))
    (folder / name).unlink()
    with pytest.raises(GuestNotBuilt, match="incomplete"):
        builder.current_guest(own_settings)
    assert builder.list_guests(own_settings) == []


@pytest.mark.parametrize("content", ["../../etc", "", "a/b", "a1\0", "é"])
def test_a_damaged_pointer_leads_nowhere(own_settings: Settings, content: str) -> None:
    _put(own_settings, _manifest("a1"))
    current.pointer(own_settings).write_text(content, encoding="utf-8")
    with pytest.raises(GuestNotBuilt):
        builder.current_guest(own_settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"builder": "older"},
        {"sources": {"errors.py": "other"}},
        {"sources": {"gone.py": ""}},
    ],
)
def test_a_guest_of_another_vctui_is_refused(own_settings: Settings, changes: dict) -> None:
    _put(own_settings, _manifest("a1", **changes))
    with pytest.raises(GuestNotBuilt, match="another vctui"):
        builder.current_guest(own_settings)


def test_an_unreadable_or_foreign_manifest_is_no_guest(own_settings: Settings) -> None:
    folder = _put(own_settings, _manifest("a1"))
    for content in (b"", b"{}", b"\xff", msgspec.json.encode(_manifest("a1", format=99))):
        (folder / "manifest.json").write_bytes(content)
        with pytest.raises(GuestNotBuilt):
            builder.current_guest(own_settings)


def test_guests_are_listed_newest_first(own_settings: Settings) -> None:
    _put(own_settings, _manifest("a1"), point=False)
    _put(own_settings, _manifest("b2", created=_NOW.replace(year=2027)), point=False)
    (current.guests_folder(own_settings) / ".build-x").mkdir()
    assert [found.key for found in builder.list_guests(own_settings)] == ["b2", "a1"]


def test_an_unknown_root_file_system_names_the_known_ones(own_settings: Settings) -> None:
    with pytest.raises(FileProblem, match=r"'alpine'.*busybox"):
        rootfs.rootfs_template(own_settings, "alpine")


def test_the_demo_root_file_system_has_what_programs_expect(tmp_path: Path) -> None:
    rootfs.make_busybox(tmp_path, b"program", ["sh", "ls", "busybox", "../evil", ""])
    assert (tmp_path / "bin/sh").readlink() == (tmp_path / "bin/ls").readlink() == Path("busybox")
    assert (tmp_path / "bin/sh").lstat().st_nlink == 2
    assert (tmp_path / "bin/busybox").read_bytes() == b"program"
    assert {file.name for file in (tmp_path / "bin").iterdir()} == {"busybox", "ls", "sh"}
    assert (tmp_path / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert "root:x:0:0" in (tmp_path / "etc/passwd").read_text()
    assert not (tmp_path.parent / "evil").exists()
