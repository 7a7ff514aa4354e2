"""Building: from the cache where it can, the same bytes again, nothing half made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vctui import settings
from vctui.errors import GuestBuildFailed, HostProblem
from vctui.image import builder, current
from vctui.image.builder import Progress
from vctui.settings import Settings

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


@pytest.fixture
async def stocked(shared_settings: Settings, own_settings: Settings) -> Settings:
    """A cache with the packages, but no guest."""
    await builder.build(shared_settings)
    for part in ("debs", "apt"):
        target = own_settings.cache_dir / part
        target.mkdir(parents=True)
        for file in (shared_settings.cache_dir / part).iterdir():
            if file.is_file():
                os.link(file, target / file.name)
    return own_settings


def _left(settings: Settings) -> set[str]:
    return {entry.name for entry in current.guests_folder(settings).iterdir()}


async def test_what_is_there_is_not_built_again(shared_settings: Settings) -> None:
    first = await builder.build(shared_settings)
    steps: list[Progress] = []
    assert await builder.build(shared_settings, progress=steps.append) == first
    assert [step.phase for step in steps] == ["looking up packages"]
    assert builder.current_guest(shared_settings) == first
    assert first in builder.list_guests(shared_settings)


async def test_two_builders_give_one_guest_and_the_same_bytes_as_another(
    shared_settings: Settings, stocked: Settings
) -> None:
    elsewhere = await builder.build(shared_settings)
    steps: list[Progress] = []
    one, two = await asyncio.gather(
        *(builder.build(stocked, progress=steps.append) for _ in range(2))
    )
    assert one == two
    assert one.outputs == elsewhere.outputs
    assert [step.phase for step in steps].count("packing the image") == 1
    assert not any("downloading" in step.phase for step in steps)
    assert _left(stocked) == {".lock", "current", one.key}
    assert all(step.done <= step.total or not step.total for step in steps)
    rebuilt = await builder.build(stocked, force=True)
    assert rebuilt.outputs == one.outputs
    assert _left(stocked) == {".lock", "current", one.key}


@pytest.mark.parametrize("phase", ["unpacking packages", "compiling the agent"])
async def test_an_interrupted_build_leaves_nothing(stocked: Settings, phase: str) -> None:
    (current.guests_folder(stocked) / ".build-dead" / "root").mkdir(parents=True)
    task: asyncio.Task[object]

    def interrupt(step: Progress) -> None:
        if step.phase == phase:
            task.cancel()

    task = asyncio.create_task(builder.build(stocked, progress=interrupt))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _left(stocked) == {".lock"}


async def test_without_a_network_the_package_is_named(
    stocked: Settings, broken_apt: Callable[[str], None]
) -> None:
    for file in (stocked.cache_dir / "debs").glob("crun_*"):
        file.unlink()
    broken_apt("apt-get")
    with pytest.raises(GuestBuildFailed, match=r"the package crun .*could not be downloaded"):
        await builder.build(stocked)
    assert _left(stocked) == {".lock"}


async def test_without_package_lists_a_usable_guest_stays(
    shared_settings: Settings, own_settings: Settings, broken_apt: Callable[[str], None]
) -> None:
    built = await builder.build(shared_settings)
    broken_apt("apt-cache")
    assert await builder.build(shared_settings) == built
    with pytest.raises(GuestBuildFailed, match="apt-get update"):
        await builder.build(own_settings)


@pytest.fixture
def broken_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the way that knows nothing and fetches nothing."""

    def put(name: str) -> None:
        folder = tmp_path / "programs"
        folder.mkdir()
        program = folder / name
        program.write_text("#!/bin/sh\nexit 100\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


async def test_a_cache_that_cannot_be_written_is_one_sentence() -> None:
    where = settings.load(overrides={"cache_dir": "/proc/vctui"})
    with pytest.raises(HostProblem, match="cannot build a guest"):
        await builder.build(where)
