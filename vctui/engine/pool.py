"""Ready guests: machines that were restored and warmed up before anybody asked for them.

    <run_dir>/pool/lock           held alone by who fills the pool or tidies it
    <run_dir>/pool/next           held by who fills it next
    <run_dir>/pool/filler.log     what the last one who filled it had to say
    <run_dir>/pool/<name>/        a machine's folder as a pod's is; with ready.json once it is ready
    <run_dir>/pool/<name>.gone/   one that is being ended

A process is found by the folder in its arguments, and a ready machine has this one. The pod that
takes it gets the folder itself, by one `rename`, under its own name: so nobody else gets it, and
the name tells whoever comes later what else belongs to the pod (`folders_of`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

import vctui
from vctui.drivers.storage import share
from vctui.engine import paths
from vctui.engine.paths import PodPaths
from vctui.linux import files, locks, process, trees
from vctui.linux.problems import host_problem
from vctui.model.hypervisor import Machine
from vctui.settings import Settings

log = logging.getLogger(__name__)

LOG: Final = "filler.log"
_PREFIX, _GONE = "ready-", ".gone"
_MANIFEST: Final = "ready.json"
_SHARE: Final = "share"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that waits, frozen, to be a pod's."""

    name: str
    key: str
    """Of the template that it began as."""
    made_with: str
    """Stands for the vctui and the settings that it was made with."""
    created: datetime
    machine: Machine


class Pool:
    def __init__(self, settings: Settings) -> None:
        self.folder = paths.pool_root(settings)
        self.size = settings.template.pool if settings.template.enabled else 0
        self._pods = paths.pods_root(settings)
        self._exported = paths.pool_exports_root(settings)
        shape = (vctui.__version__, settings.paths.cache_dir, settings.pod, settings.qemu)
        self._made_with = hashlib.sha256(msgspec.json.encode(shape)).hexdigest()[:16]

    def ready(self) -> list[Ready]:
        """Those that are ready and fit the settings, the oldest first."""
        found = (self._read(name) for name in self._names())
        fitting = [each for each in found if each and each.made_with == self._made_with]
        return sorted(fitting, key=lambda each: each.created)

    def start(self) -> Path:
        """A folder for another machine, which has what it shows the guest in `share`.

        Raises:
            HostProblem
        """
        name = f"{_PREFIX}{uuid.uuid4().hex[:12]}"
        place = self.folder / name
        try:
            place.mkdir(mode=0o700)
        except OSError as error:
            raise host_problem(error, f"make the folder {place}") from error
        share.make_share(place / _SHARE, self._exported / name)
        return place

    def publish(self, place: Path, machine: Machine, created: datetime) -> None:
        """The machine in `place` is ready. Raises HostProblem."""
        ready = Ready(
            name=place.name,
            key=machine.template,
            made_with=self._made_with,
            created=created,
            machine=machine,
        )
        try:
            files.write_atomic(place / _MANIFEST, msgspec.json.encode(ready))
        except OSError as error:
            raise host_problem(error, f"write {place / _MANIFEST}") from error

    def take(self, key: str, at: PodPaths, fits: Callable[[Machine], bool]) -> Ready | None:
        """Give a pod whose folder is made, and whose machine is not, a ready machine.

        Raises:
            HostProblem: one was taken and is not whole; it goes with the pod's folder.
        """
        if not share.is_mountable(at.share) and any(at.rootfs.iterdir()):
            return None  # the pod's files are in another folder than the machine serves
        for each in self.ready():
            if each.key != key or not fits(each.machine):
                continue
            mine = at.run / each.name
            try:
                (self.folder / each.name).rename(mine)
            except FileNotFoundError:  # somebody was quicker
                continue
            except OSError as error:
                raise host_problem(error, f"take {each.name} out of the pool") from error
            try:
                self._move_in(mine, at)
            except OSError as error:
                raise host_problem(error, f"use {mine}") from error
            return each
        return None

    def _move_in(self, mine: Path, at: PodPaths) -> None:
        """The machine's files get the names that a pod's have. What QEMU has opened stays open."""
        for entry in list(mine.iterdir()):
            if entry.name not in {_MANIFEST, _SHARE}:
                entry.rename(at.run / entry.name)
        if share.is_mountable(at.share):
            for entry in list(at.share.iterdir()):
                entry.rename(mine / _SHARE / entry.name)
            at.share.rmdir()
            (mine / _SHARE).rename(at.share)
        else:
            (mine / _SHARE).unlink()
            (self._exported / mine.name).rename(at.rootfs)

    async def end(self, name: str) -> None:
        """End what is in a folder of the pool, and remove it. Idempotent; no pod gets it any more.

        Raises:
            OSError
        """
        place, gone = self.folder / name, self.folder / f"{name}{_GONE}"
        with contextlib.suppress(FileNotFoundError):
            place.rename(gone)
        if gone.exists():
            for left in process.find_by_argument(place):
                await process.terminate(left.pid, left.started, timeout=0)
            trees.remove_tree(gone)
            trees.remove_tree(self._exported / name)

    async def end_all(self, key: str) -> None:
        """End the ready guests that began as a template."""
        for each in [self._read(name) for name in self._names()]:
            if each is not None and each.key == key:
                await self._end(each.name)

    async def tidy(self, usable: Callable[[Ready], bool]) -> None:
        """End what fits no more, what are too many, and what killed fillers left. The caller holds
        the lock."""
        keep = [each.name for each in self.ready() if usable(each)][: self.size]
        for name in self._names():
            if name.removesuffix(_GONE) not in keep:
                await self._end(name.removesuffix(_GONE))
        taken = {each.name for each in self._pods.glob(f"*/{_PREFIX}*")}
        with contextlib.suppress(FileNotFoundError):
            for left in list(self._exported.iterdir()):
                if left.name not in {*keep, *taken}:
                    trees.remove_tree(left)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Hold the pool alone, after whoever does; False where somebody waits for that already."""
        files.private_dir(self.folder)
        async with contextlib.AsyncExitStack() as stack:
            async with locks.try_exclusive(self.folder / "next") as first:
                if first:
                    await stack.enter_async_context(locks.exclusive(self._lock))
            yield first

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Hold the pool alone; False where there is none, or somebody else does."""
        if not self.folder.is_dir():
            yield False
            return
        async with locks.try_exclusive(self._lock) as mine:
            yield mine
            if mine and not self.size and not any(self._names()):
                trees.remove_tree(self.folder)
                with contextlib.suppress(OSError):  # not there, or something could not be removed
                    self._exported.rmdir()

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"

    async def _end(self, name: str) -> None:
        try:
            await self.end(name)
        except (OSError, TimeoutError) as error:
            log.warning("the ready guest %s could not be ended: %s", name, error)

    def _names(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(each.name for each in self.folder.glob(f"{_PREFIX}*"))

    def _read(self, name: str) -> Ready | None:
        try:
            found = msgspec.json.decode((self.folder / name / _MANIFEST).read_bytes(), type=Ready)
        except (OSError, msgspec.MsgspecError):
            return None
        return found if found.name == name else None


def folders_of(settings: Settings, at: PodPaths) -> list[Path]:
    """The folders that a pod's processes may have in their arguments."""
    came_from = [paths.pool_root(settings) / each.name for each in at.run.glob(f"{_PREFIX}*")]
    return [at.run, *came_from]
