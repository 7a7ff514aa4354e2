"""Where templates stand: a folder in memory (tmpfs) for each, gone when the host reboots.

    <folder>/<key>.lock     held alone by who builds or removes, shared by who restores
    <folder>/room.lock      held by who makes room for a draft and takes it
    <folder>/<key>/         manifest.json, state, memory, console.log
    <folder>/<key>.draft/   one that is being built; also the folder of its machine

A template's memory file is allocated whole: a machine that touches a page of it for the first time
must find room, or the kernel ends it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from vctui.drivers.hypervisors.base import SavedGuest
from vctui.errors import DiskFull, HostProblem, PermissionProblem, VctuiError
from vctui.linux import files, locks, process, trees
from vctui.linux.problems import host_problem
from vctui.model.template import Template
from vctui.settings import Settings

log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - with a private folder of ours in it
_LOCK, _DRAFT, _ROOM = ".lock", ".draft", "room"
_FILES: Final = frozenset({"manifest.json", "state", "memory", "console.log"})
_STATE_LIMIT: Final = 64 * MIB


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is checked before a template is used."""

    template: Template
    state_sha256: str
    memory_stamp: tuple[int, int, int]
    inputs: dict[str, tuple[int, int, int]]
    """Stamps of the files that it was made from."""


class Shelf:
    """The templates of one cache folder."""

    def __init__(self, settings: Settings) -> None:
        self.above = Path(settings.template.memory_dir or _SHARED_MEMORY)
        """What they are kept in, with those of other users and caches."""
        whose = hashlib.sha256(os.fsencode(settings.cache_dir)).hexdigest()[:8]
        self._user = self.above / f"vctui-{os.geteuid()}"
        self.folder = self._user / whose
        self.limit = settings.template.max_memory
        """MiB of all of them together."""
        self._keep = timedelta(hours=settings.template.keep_hours)

    def place(self, key: str) -> Path:
        return self.folder / key

    def guest(self, key: str) -> SavedGuest:
        place = self.place(key)
        return SavedGuest(
            memory=place / "memory", state=place / "state", console=place / "console.log"
        )

    def draft(self, key: str) -> Path:
        return self.folder / f"{key}{_DRAFT}"

    def prepare(self) -> None:
        """Make the folder, which nobody else may have made for us.

        Raises:
            HostProblem, PermissionProblem: templates cannot be kept there.
        """
        if not self.above.is_dir():
            raise HostProblem(
                f"there is no folder {self.above} for templates; name a tmpfs with "
                "template.memory_dir in config.toml"
            )
        try:
            files.private_dir(self.folder)
            for folder in (self._user, self.folder):
                there = folder.lstat()
                if not _is_private(there):
                    raise PermissionProblem(
                        f"{folder} is not a private folder of user {os.geteuid()}; remove it, or "
                        "name another place with template.memory_dir in config.toml"
                    )
        except OSError as error:
            remedy = "name another place with template.memory_dir in config.toml"
            raise host_problem(error, f"make the folder {self.folder}", remedy=remedy) from error

    @contextlib.asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """For who builds: others wait."""
        async with locks.exclusive(self._lock(key)):
            yield

    @contextlib.asynccontextmanager
    async def using(self, key: str) -> AsyncIterator[Template | None]:
        """The template, None where there is none that can be used; it stays for the block."""
        async with locks.shared(self._lock(key)):
            yield self.get(key)

    def get(self, key: str) -> Template | None:
        """One that is whole and still fits what it was made from."""
        found = self._read(key)
        return found.template if found and self._is_whole(found) else None

    def templates(self) -> list[Template]:
        """Whole ones, those used last first."""
        found = [self._read(key) for key in self._keys()]
        whole = [each.template for each in found if each and self._is_whole(each)]
        return sorted(whole, key=lambda each: each.used, reverse=True)

    def touch(self, key: str) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.place(key) / "manifest.json")

    @contextlib.asynccontextmanager
    async def allotting(self) -> AsyncIterator[None]:
        """For `make_room` and `start_draft`: one after the other, all keep to the limit."""
        async with locks.exclusive(self._lock(_ROOM)):
            yield

    async def make_room(self, key: str, memory: int) -> None:
        """Have `memory` MiB for a draft; what no longer fits makes room, and what was used longest
        ago. The caller holds `key` alone, and what was there of it does not fit.

        Raises:
            DiskFull: there is not so much.
        """
        await self.clear(key)
        trees.remove_tree(self.place(key))
        if memory > self.limit:
            raise DiskFull(
                f"a template of {memory} MiB is larger than template.max_memory, "
                f"{self.limit} MiB; raise it in config.toml"
            )
        for stale in {*self._keys()} - {each.key for each in self.templates()} - {key}:
            await self.remove(stale)
        others = [each for each in self.templates() if each.key != key]
        for each in reversed(others.copy()):
            if self._fits(memory, others):
                break
            if await self.remove(each.key):
                others.remove(each)
        if not self._fits(memory, others):
            raise DiskFull(
                f"a template of {memory} MiB does not fit: {self.folder} has "
                f"{files.room(self.folder) // MIB} MiB free, and template.max_memory is "
                f"{self.limit} MiB with {self._taken(others)} in use; make room, "
                "or name a larger tmpfs with template.memory_dir in config.toml"
            )

    def start_draft(self, key: str, memory: int) -> Path:
        """A folder with an empty memory file of `memory` MiB, all of it allocated.

        Raises:
            DiskFull, HostProblem
        """
        draft = self.draft(key)
        try:
            (draft / "share").mkdir(parents=True, mode=0o700)
            descriptor = os.open(
                draft / "memory", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            try:
                os.posix_fallocate(descriptor, 0, memory * MIB)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise host_problem(error, f"allocate {memory} MiB in {draft}") from error
        return draft

    def publish(self, template: Template, program: Path | None = None) -> None:
        """Give a finished draft its place.

        Args:
            program: the hypervisor's.

        Raises:
            HostProblem
        """
        key = template.key
        draft, place = self.draft(key), self.place(key)
        inputs = [template.kernel, template.initrd, *([str(program)] if program else [])]
        try:
            manifest = Manifest(
                template=template,
                state_sha256=_digest(draft / "state"),
                memory_stamp=_stamp(draft / "memory"),
                inputs={path: _stamp(Path(path)) for path in inputs},
            )
            files.write_atomic(draft / "manifest.json", msgspec.json.encode(manifest))
            for entry in draft.iterdir():
                if entry.name not in _FILES:
                    trees.remove_tree(entry)
            trees.remove_tree(place)
            draft.rename(place)
        except OSError as error:
            raise host_problem(error, f"keep a template in {place}") from error

    async def clear(self, key: str) -> None:
        """Take away what was begun, with the machine that it was begun by. Idempotent."""
        draft = self.draft(key)
        for left in process.find_by_argument(draft) if draft.exists() else ():
            await process.terminate(left.pid, left.started, timeout=0)
        trees.remove_tree(draft)

    async def remove(self, key: str) -> bool:
        """Whether it could be removed: not while somebody builds it or begins as it.

        Machines that began as it keep what they need.
        """
        if not self.folder.is_dir():
            return True
        async with locks.try_exclusive(self._lock(key)) as mine:
            if mine:
                trees.remove_tree(self.place(key))
                await self.clear(key)
                self._lock(key).unlink(missing_ok=True)
            return mine

    async def sweep(self) -> None:
        """Remove what killed builders left, what nobody has used for long, and what was made from
        files that have changed."""
        names = frozenset(self._names())
        for key in sorted({name.partition(".")[0] for name in names}):
            try:
                found = self._read(key)
                if found is None or not (self._is_recent(found) and _is_current(found)):
                    await self.remove(key)
                elif f"{key}{_DRAFT}" in names:
                    async with locks.try_exclusive(self._lock(key)) as mine:
                        if mine:
                            await self.clear(key)
            except (VctuiError, OSError) as error:
                log.warning("template %s could not be removed: %s", key, error)

    def _is_recent(self, found: Manifest) -> bool:
        return datetime.now(UTC) - found.template.used < self._keep

    def _names(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if _is_private(self.folder.lstat()):
                yield from (entry.name for entry in self.folder.iterdir())

    def _keys(self) -> list[str]:
        return [name for name in self._names() if "." not in name]

    def _lock(self, key: str) -> Path:
        return self.folder / f"{key}{_LOCK}"

    def _fits(self, memory: int, others: list[Template]) -> bool:
        fits = self._taken(others) + memory <= self.limit
        return fits and memory * MIB < files.room(self.folder)

    def _taken(self, templates: list[Template]) -> int:
        """MiB of these and of those that are being built."""
        built = 0
        for draft in self.folder.glob(f"*{_DRAFT}/memory"):
            with contextlib.suppress(FileNotFoundError):
                built += draft.stat().st_size // MIB
        return sum(each.memory for each in templates) + built

    def _read(self, key: str) -> Manifest | None:
        file = self.place(key) / "manifest.json"
        try:
            found = msgspec.json.decode(file.read_bytes(), type=Manifest)
            used = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        except (OSError, msgspec.MsgspecError):
            return None
        if found.template.key != key:
            return None
        template = msgspec.structs.replace(found.template, used=used)
        return msgspec.structs.replace(found, template=template)

    def _is_whole(self, found: Manifest) -> bool:
        """The state is compared by its hash. The memory is too large for that: nobody writes to
        the file once it is saved, and whoever does changes its times."""
        place = self.place(found.template.key)
        try:
            return (
                _stamp(place / "memory") == found.memory_stamp
                and _digest(place / "state") == found.state_sha256
                and _is_current(found)
            )
        except OSError:
            return False


def _is_private(there: os.stat_result) -> bool:
    return (
        stat.S_ISDIR(there.st_mode)
        and there.st_uid == os.geteuid()
        and not stat.S_IMODE(there.st_mode) & 0o077
    )


def _is_current(found: Manifest) -> bool:
    """Whether what it was made from is still the same. No look at what is in it."""
    try:
        return all(_stamp(Path(path)) == stamp for path, stamp in found.inputs.items())
    except OSError:
        return False


def _stamp(path: Path) -> tuple[int, int, int]:
    there = path.stat()
    return there.st_size, there.st_mtime_ns, there.st_ino


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_STATE_LIMIT)).hexdigest()
