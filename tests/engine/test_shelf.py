"""Templates on their shelf: found while they fit, within their limits, gone when they do not."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from vctui.engine.context import now
from vctui.engine.shelf import MIB, Shelf
from vctui.errors import DiskFull, HostProblem, PermissionProblem
from vctui.linux import locks, process
from vctui.model.kinds import MachineType
from vctui.model.template import Template
from vctui.settings import Paths, Settings
from vctui.settings import Template as TemplateSettings

KEY, OTHER, THIRD = "0123456789abcdef", "fedcba9876543210", "00000000ffffffff"


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A folder with a kernel, an initrd and a hypervisor."""
    for name in ("vmlinux", "initrd", "qemu"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def make(tmp_path: Path, **template: object) -> Shelf:
    shelf = Shelf(
        Settings(
            paths=Paths(cache_dir=str(tmp_path / "cache")),
            template=TemplateSettings(
                **{"memory_dir": str(tmp_path), "max_memory": 4, **template}  # type: ignore[arg-type]
            ),
        )
    )
    shelf.prepare()
    return shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make(tmp_path)


async def put(shelf: Shelf, guest: Path, key: str = KEY, memory: int = 1) -> Template:
    await shelf.make_room(key, memory)
    draft = shelf.start_draft(key, memory)
    (draft / "state").write_bytes(b"devices")
    (draft / "console.log").write_bytes(b"Linux version")
    (draft / "ctl.sock").touch()
    moment = now()
    template = Template(
        key=key,
        created=moment,
        used=moment,
        machine_type=MachineType.Q35,
        vcpus=1,
        memory=memory,
        kernel=str(guest / "vmlinux"),
        initrd=str(guest / "initrd"),
    )
    shelf.publish(template, guest / "qemu")
    return template


def keys(shelf: Shelf) -> list[str]:
    return [each.key for each in shelf.templates()]


async def test_what_was_published_is_found_whole(shelf: Shelf, guest: Path):
    template = await put(shelf, guest)
    async with shelf.using(KEY) as found:
        assert found is not None
        assert found.created == template.created
    saved = shelf.guest(KEY)
    assert saved.memory.stat().st_size == MIB
    assert saved.memory.stat().st_blocks * 512 >= MIB, "a page may be missing when it is needed"
    assert saved.console.read_bytes() == b"Linux version"
    assert sorted(entry.name for entry in shelf.place(KEY).iterdir()) == [
        *("console.log", "manifest.json", "memory", "state")
    ]
    assert shelf.get(OTHER) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda shelf, guest: (guest / "vmlinux").write_bytes(b"another kernel"),
        lambda shelf, guest: (guest / "initrd").unlink(),
        lambda shelf, guest: (guest / "qemu").write_bytes(b"another hypervisor"),
        lambda shelf, guest: shelf.guest(KEY).state.write_bytes(b"Devices"),
        lambda shelf, guest: os.utime(shelf.guest(KEY).memory),
        lambda shelf, guest: shelf.guest(KEY).memory.unlink(),
        lambda shelf, guest: (shelf.place(KEY) / "manifest.json").write_bytes(b"{"),
    ],
    ids=["kernel", "initrd", "hypervisor", "state", "memory", "no memory", "manifest"],
)
async def test_one_that_no_longer_fits_is_not_used(shelf: Shelf, guest: Path, spoil):
    await put(shelf, guest)
    spoil(shelf, guest)
    assert shelf.get(KEY) is None
    assert keys(shelf) == []
    await put(shelf, guest) if (guest / "initrd").exists() else None
    assert bool(shelf.get(KEY)) == (guest / "initrd").exists(), "it is replaced"


async def test_the_one_used_longest_ago_makes_room(shelf: Shelf, guest: Path):
    for number, key in enumerate((KEY, OTHER)):
        await put(shelf, guest, key, memory=2)
        os.utime(shelf.place(key) / "manifest.json", (1000 + number, 1000 + number))
    shelf.touch(KEY)
    assert keys(shelf) == [KEY, OTHER]
    await put(shelf, guest, THIRD, memory=1)
    assert sorted(keys(shelf)) == sorted([KEY, THIRD])


async def test_what_no_longer_fits_makes_room_first(shelf: Shelf, guest: Path):
    await put(shelf, guest, OTHER, memory=2)
    old = shelf.place(OTHER)
    (guest / "vmlinux").write_bytes(b"another kernel")
    await put(shelf, guest, KEY, memory=2)
    assert not old.exists()
    await put(shelf, guest, THIRD, memory=2)
    assert sorted(keys(shelf)) == sorted([KEY, THIRD])


async def test_one_in_use_makes_no_room(shelf: Shelf, guest: Path):
    await put(shelf, guest, KEY, memory=3)
    async with shelf.using(KEY):
        with pytest.raises(DiskFull, match=r"4 MiB with 3 in use.*template\.memory_dir"):
            await put(shelf, guest, OTHER, memory=2)
        assert not await shelf.remove(KEY)
    assert keys(shelf) == [KEY]


async def test_those_that_are_being_built_count(shelf: Shelf, guest: Path):
    """Builders come one after the other, and their templates are there much later."""
    async with shelf.allotting():
        shelf.start_draft(OTHER, 3)
        later = asyncio.create_task(allotted(shelf, guest))
        await asyncio.sleep(0)
        assert not later.done()
    with pytest.raises(DiskFull, match=r"4 MiB with 3 in use"):
        await later
    await shelf.clear(OTHER)
    await allotted(shelf, guest)
    assert keys(shelf) == [KEY]


async def allotted(shelf: Shelf, guest: Path) -> None:
    async with shelf.allotting():
        await put(shelf, guest, KEY, memory=2)


async def test_one_that_fits_no_more_leaves_its_room_to_the_next_of_its_kind(
    shelf: Shelf, guest: Path, monkeypatch: pytest.MonkeyPatch
):
    await put(shelf, guest)
    old = shelf.place(KEY)
    free = lambda _: MIB if old.exists() else 2 * MIB  # noqa: E731
    monkeypatch.setattr("vctui.linux.files.room", free)
    (guest / "vmlinux").write_bytes(b"another kernel")
    await put(shelf, guest)
    assert keys(shelf) == [KEY]


async def test_one_larger_than_all_may_be_is_refused(shelf: Shelf, guest: Path):
    with pytest.raises(DiskFull, match=r"5 MiB is larger than template\.max_memory, 4 MiB"):
        await put(shelf, guest, KEY, memory=5)
    assert list(shelf.folder.iterdir()) == []


async def test_a_full_tmpfs_is_said_and_nothing_is_left(
    tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
):
    shelf = make(tmp_path)
    monkeypatch.setattr("vctui.linux.files.room", lambda _: MIB // 2)
    with pytest.raises(DiskFull, match=r"0 MiB free.*make room"):
        await put(shelf, guest)
    assert keys(shelf) == []


async def test_a_sweep_takes_what_nobody_used_and_what_a_dead_builder_left(
    shelf: Shelf, guest: Path
):
    await put(shelf, guest, KEY)
    await put(shelf, guest, OTHER)
    old = time.time() - 49 * 3600
    os.utime(shelf.place(OTHER) / "manifest.json", (old, old))
    draft = shelf.start_draft(THIRD, 1)
    left = process.spawn_detached(["tail", "-f", str(draft / "memory")])
    async with locks.exclusive(shelf.folder / f"{THIRD}.lock"):
        await shelf.sweep()
        assert draft.exists(), "its builder lives"
        assert process.is_alive(left.pid, left.started)
    await shelf.sweep()
    assert not process.is_alive(left.pid, left.started)
    assert sorted(entry.name for entry in shelf.folder.iterdir() if entry.is_dir()) == [KEY]


async def test_a_sweep_takes_what_was_made_from_files_that_have_changed(shelf: Shelf, guest: Path):
    """Nobody begins as it any more, and it holds much memory."""
    await put(shelf, guest)
    await shelf.sweep()
    assert keys(shelf) == [KEY]
    (guest / "initrd").write_bytes(b"another")
    await shelf.sweep()
    assert list(shelf.folder.iterdir()) == []


async def test_a_rebuild_that_died_does_not_take_the_template_with_it(shelf: Shelf, guest: Path):
    await put(shelf, guest)
    shelf.start_draft(KEY, 1)
    await shelf.sweep()
    assert keys(shelf) == [KEY]
    assert not shelf.draft(KEY).exists()


def test_a_place_that_cannot_be_written_to_is_named_with_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def read_only(folder: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system", str(folder))

    monkeypatch.setattr("vctui.linux.files.private_dir", read_only)
    with pytest.raises(PermissionProblem, match=r"Read-only.*name another.*template\.memory_dir"):
        make(tmp_path)


def test_a_folder_that_others_can_open_is_refused(tmp_path: Path):
    (tmp_path / f"vctui-{os.geteuid()}").mkdir(mode=0o755)
    with pytest.raises(PermissionProblem, match="not a private folder"):
        make(tmp_path)


def test_a_link_of_somebody_elses_is_refused(tmp_path: Path):
    (tmp_path / "trap").mkdir(mode=0o700)
    (tmp_path / f"vctui-{os.geteuid()}").symlink_to(tmp_path / "trap")
    with pytest.raises(PermissionProblem, match="not a private folder"):
        make(tmp_path)


def test_a_missing_tmpfs_is_said(tmp_path: Path):
    with pytest.raises(HostProblem, match=r"no folder .*/none for templates.*memory_dir"):
        make(tmp_path, memory_dir=str(tmp_path / "none"))
