"""The pool of ready guests: one for each pod that wants it, and nothing left of the others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from vctui.drivers.storage import share
from vctui.engine import paths, recovery
from vctui.engine.context import Context, now
from vctui.engine.paths import PodPaths
from vctui.engine.pool import Pool, Ready, folders_of
from vctui.engine.runtime import Runtime
from vctui.linux import files, locks, probe, process
from vctui.model.hypervisor import Machine
from vctui.settings import Settings
from vctui.settings import Template as TemplateSettings

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, template=TemplateSettings(pool=2))


@pytest.fixture(autouse=True)
async def nothing_runs_on(settings: Settings) -> AsyncIterator[None]:
    yield
    for left in process.find_by_argument(settings.run_dir):
        await process.terminate(left.pid, left.started, timeout=0)


@pytest.fixture
def pool(settings: Settings) -> Pool:
    made = Pool(settings)
    files.private_dir(made.folder)
    return made


def machine_in(place: Path, key: str = KEY) -> Machine:
    """A process that has the folder in its arguments."""
    (place / "qemu.log").touch()
    spawned = process.spawn_detached(["tail", "-f", place / "qemu.log"])
    return Machine(uuid="u", pid=spawned.pid, pid_started=spawned.started, template=key)


def add(pool: Pool, key: str = KEY) -> Ready:
    place = pool.start()
    (place / "ctl.sock").touch()
    (place / "share" / "from-machine").touch()
    pool.publish(place, machine_in(place, key), now())
    return pool.ready()[-1]


def folder_of(settings: Settings, pod_id: str) -> PodPaths:
    at = paths.of_pod(settings, pod_id)
    files.private_dir(at.logs)
    share.make_share(at.share, at.rootfs)
    return at


def lives(machine: Machine) -> bool:
    return process.is_alive(machine.pid, machine.pid_started)


def entries(pool: Pool) -> list[str]:
    return sorted(each.name for each in pool.folder.glob("ready-*"))


async def test_a_pod_gets_the_machine_with_all_its_files(pool: Pool, settings: Settings):
    ready = add(pool)
    at = folder_of(settings, "web")
    (at.share / ".pod").mkdir()
    took = pool.take(KEY, at, lives)
    assert took == ready
    assert pool.ready() == []
    assert entries(pool) == []
    assert (at.run / "ctl.sock").exists()
    assert {each.name for each in at.share.iterdir()} == {".pod", "from-machine"}
    assert at.run / ready.name in at.run.iterdir(), "by it the machine is found"
    assert folders_of(settings, at) == [at.run, pool.folder / ready.name]
    await pool.end(ready.name)
    assert lives(ready.machine), "it is the pool's no more"


async def test_the_machine_that_a_pod_took_ends_with_the_pod(pool: Pool, settings: Settings):
    async with Runtime(settings) as runtime:
        ctx = Context(settings, runtime._reading.store)
        ready = add(pool)
        at = folder_of(settings, "web")
        pool.take(KEY, at, lives)
        await recovery.reclaim(ctx, "web", keep_logs=True)
        assert not lives(ready.machine)
        assert {each.name for each in at.run.iterdir()} == {"logs", "qemu.log"}


async def test_one_that_a_killed_taker_had_is_found_by_the_next_engine(
    pool: Pool, settings: Settings
):
    ready = add(pool)
    at = folder_of(settings, "ghost")  # whose pod was never recorded, or is gone
    (pool.folder / ready.name).rename(at.run / ready.name)  # killed before anything else
    async with Runtime(settings):
        assert not lives(ready.machine)
        assert not at.run.exists()


def test_of_many_takers_each_gets_another(pool: Pool, settings: Settings, tmp_path: Path):
    made = {add(pool).name for _ in range(4)}
    (tmp_path / "settings.json").write_bytes(msgspec.json.encode(settings))
    take = (
        "import sys, msgspec; from pathlib import Path\n"
        "from vctui.engine import paths; from vctui.engine.pool import Pool\n"
        "from vctui.settings import Settings\n"
        "settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)\n"
        "at = paths.of_pod(settings, sys.argv[2])\n"
        "print('here', flush=True); sys.stdin.read()\n"
        f"took = Pool(settings).take({KEY!r}, at, lambda _: True)\n"
        "print(took.name if took else '')"
    )
    takers = []
    for number in range(6):
        folder_of(settings, f"pod-{number}")
        words = [sys.executable, "-c", take, str(tmp_path / "settings.json"), f"pod-{number}"]
        takers.append(
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "here\n"
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.close()
        taker.stdin = None
    got = [taker.communicate()[0].strip() for taker in takers]
    assert [taker.returncode for taker in takers] == [0] * 6
    assert sorted(got) == ["", "", *sorted(made)]


async def test_one_of_another_template_or_whose_machine_died_is_not_taken(
    pool: Pool, settings: Settings
):
    add(pool, OTHER)
    dead = add(pool)
    await process.terminate(dead.machine.pid, dead.machine.pid_started, timeout=0)
    assert pool.take(KEY, folder_of(settings, "web"), lives) is None


async def test_tidying_ends_what_is_not_usable_not_ready_or_too_many(pool: Pool):
    three = [add(pool) for _ in range(3)]
    stale = add(pool, OTHER)
    begun = pool.start()
    half = machine_in(begun)
    ending = pool.start()
    half_ended = machine_in(ending)
    ending.rename(ending.with_name(f"{ending.name}.gone"))
    await pool.tidy(lambda each: each.key == KEY)
    assert entries(pool) == sorted(each.name for each in three[:2])
    gone = [three[2].machine, stale.machine, half, half_ended]
    assert [lives(each) for each in gone] == [False] * 4
    assert [lives(each.machine) for each in three[:2]] == [True, True]


@pytest.mark.parametrize(
    "change",
    [
        {"template": TemplateSettings(pool=0)},
        {"template": TemplateSettings(pool=2, enabled=False)},
    ],
    ids=["pool", "enabled"],
)
async def test_a_pool_that_is_switched_off_drains_and_leaves_nothing(
    pool: Pool, settings: Settings, change: dict[str, TemplateSettings]
):
    ready = add(pool)
    async with Runtime(msgspec.structs.replace(settings, **change)):
        assert not lives(ready.machine)
        assert not pool.folder.exists()


async def test_a_users_pool_that_is_switched_off_leaves_nothing_either(
    pool: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probe, "is_root", lambda: False)
    add(pool)
    exports = paths.pool_exports_root(settings)
    assert any(exports.iterdir())
    async with Runtime(msgspec.structs.replace(settings, template=TemplateSettings())):
        assert not pool.folder.exists()
        assert not exports.exists()


async def test_guests_made_with_other_settings_or_without_a_template_go(
    pool: Pool, settings: Settings
):
    ready = add(pool)
    defaults = msgspec.structs.replace(settings.pod, memory=512)
    other = Pool(msgspec.structs.replace(settings, pod=defaults))
    assert other.ready() == []
    async with Runtime(settings):  # there is no template of this key on the shelf
        assert not lives(ready.machine)
        assert entries(pool) == []


async def test_what_somebody_fills_is_left_alone(pool: Pool, settings: Settings):
    begun = pool.start()
    half = machine_in(begun)
    async with pool.turn() as mine:
        assert mine
        async with Runtime(settings):
            assert lives(half)
        async with locks.try_exclusive(pool.folder / "next") as free:
            assert free, "another may wait for its turn"
    async with Runtime(settings):
        assert not lives(half)


async def test_one_waits_for_its_turn_and_no_more(pool: Pool):
    async def turn() -> bool:
        async with pool.turn() as mine:
            return mine

    async with pool.turn():
        waiting = asyncio.create_task(turn())
        await asyncio.sleep(0)  # it is at the lock
        async with pool.turn() as third:
            assert not third
        assert not waiting.done()
    assert await waiting


async def test_ending_a_templates_guests_leaves_the_others(pool: Pool):
    one, other = add(pool), add(pool, OTHER)
    await pool.end_all(KEY)
    assert (lives(one.machine), lives(other.machine)) == (False, True)


async def test_a_users_pod_gets_the_folder_that_the_machine_shows(
    pool: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """Who cannot mount has the containers' copies in the share itself."""
    monkeypatch.setattr(probe, "is_root", lambda: False)
    add(pool)
    at = folder_of(settings, "web")
    (at.rootfs / "main").mkdir()
    assert pool.take(KEY, at, lives) is None, "its files are in another folder"
    (at.rootfs / "main").rmdir()
    assert pool.take(KEY, at, lives) is not None
    assert [each.name for each in at.share.iterdir()] == ["from-machine"]
    assert at.share.readlink() == at.rootfs
    await pool.tidy(lambda _: True)
    assert [each.name for each in at.rootfs.iterdir()] == ["from-machine"]
    assert list(paths.pool_exports_root(settings).iterdir()) == []
