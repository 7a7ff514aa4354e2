"""What doctor says of the place for templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from vctui.engine import doctor
from vctui.linux import files
from vctui.linux.mountinfo import Mounted
from vctui.model.doctor import Check
from vctui.settings import Paths, Settings, Template


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, with 600 MiB of it."""
    on(monkeypatch, "tmpfs")
    monkeypatch.setattr(files, "room", lambda _path: 600 * 1024**2)


def on(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted = (Mounted((0, 30), "/", "/", read_only=False, type=kind),)
    monkeypatch.setattr("vctui.linux.mountinfo.read", lambda: mounted)


def check(folder: Path, **template: object) -> Check:
    kept = Template(**{"memory_dir": str(folder), **template})  # type: ignore[arg-type]
    return doctor._templates(Settings(paths=Paths(cache_dir="/cache"), template=kept))


def test_a_tmpfs_with_room_is_fine(tmp_path: Path):
    found = check(tmp_path)
    assert (found.ok, found.detail) == (True, f"0 of 1024 MiB in {tmp_path}, 600 MiB free")
    assert list(tmp_path.iterdir()) == []  # it only looks


def test_templates_may_be_switched_off(tmp_path: Path):
    found = check(tmp_path / "missing", enabled=False)
    assert (found.ok, found.detail) == (True, "switched off: every pod boots")


@pytest.mark.parametrize("name", ["missing", "a file"])
def test_a_folder_that_is_not_there_is_told(tmp_path: Path, name: str):
    (tmp_path / "a file").touch()
    found = check(tmp_path / name)
    assert found.ok is None
    assert found.detail == f"there is no folder {tmp_path / name}"
    assert "template.memory_dir" in found.remedy


def test_one_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    found = check(tmp_path)
    assert (found.ok, "cannot be written" in found.detail) == (None, True)


def test_a_limit_below_the_usual_size_is_told(tmp_path: Path):
    found = check(tmp_path, max_memory=255)
    assert (found.ok, found.remedy) == (None, "raise template.max_memory")
    assert found.detail.endswith("one of the usual size needs 256 MiB")


def test_a_full_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "room", lambda _path: 255 * 1024**2)
    found = check(tmp_path)
    assert found.ok is None
    assert found.remedy.startswith("make room there, or name a tmpfs")


def test_a_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    on(monkeypatch, "ext4")
    found = check(tmp_path)
    assert (found.ok, found.detail.endswith("that is ext4, not memory")) == (None, True)
