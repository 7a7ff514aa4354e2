"""`vctui guest build`: packages → kernel, initrd and demo root file system, cached by content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from vctui.errors import GuestBuildFailed, GuestNotBuilt
from vctui.image import (
    cpio,
    current,
    elf,
    initrd,
    modules,
    packages,
    recipe,
    rootfs,
    rootinit,
    unpacked,
)
from vctui.image.current import current_guest, list_guests
from vctui.image.ingredients import Ingredients, look_up
from vctui.image.manifest import Manifest, Output
from vctui.image.python import Interpreter, Sources, collect, sources
from vctui.image.threads import to_the_end
from vctui.linux import files, locks, process, trees
from vctui.linux.problems import host_problem
from vctui.settings import Settings

__all__ = ["Progress", "build", "current_guest", "list_guests"]

_MEGABYTE: Final = 1_000_000
_KEY_LENGTH: Final = 16
_DRAFT: Final = ".build-"
_KEPT_GUESTS: Final = 2
"""The current one and its predecessor, from which a pod may just be starting."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is: a phase in words, and steps where they can be counted."""

    phase: str
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


async def build(
    settings: Settings, *, force: bool = False, progress: Report | None = None
) -> Manifest:
    """Have a guest of today's packages and today's sources; build only what is not there.

    Interrupted at any point it leaves the cache as it was. Builders wait for each other.

    Raises:
        GuestBuildFailed: a package cannot be had, or is not as expected.
        MissingProgram: this host is no Debian or Ubuntu, or lacks a program for unpacking.
        DiskFull, PermissionProblem: the cache cannot be written.
    """
    report = progress or (lambda _: None)
    guests = current.guests_folder(settings)
    with _disk_problems(guests):
        files.private_dir(guests)
        async with locks.exclusive(guests / ".lock"):
            for left_over in guests.glob(f"{_DRAFT}*"):
                await to_the_end(partial(trees.remove_tree, left_over))
            report(Progress("looking up packages"))
            ours = await to_the_end(sources)
            try:
                ingredients = await look_up(packages.Apt(settings.cache_dir / "apt"))
            except GuestBuildFailed:
                if force or (usable := _usable(settings)) is None:
                    raise
                return usable  # without apt's lists nothing newer can be known
            key = _key(ingredients, ours)
            where = guests / key
            found = None if force else _whole(where)
            if found is None:
                found = await _build_into(where, key, ingredients, ours, settings, report)
            files.write_atomic(current.pointer(settings), f"{key}\n".encode(), mode=0o644)
            await to_the_end(partial(_forget_old, settings, ingredients))
            return found


async def _build_into(
    where: Path,
    key: str,
    ingredients: Ingredients,
    ours: Sources,
    settings: Settings,
    report: Report,
) -> Manifest:
    debs = settings.cache_dir / "debs"

    def downloaded(done: int, total: int) -> None:
        report(Progress("downloading megabytes", done // _MEGABYTE, total // _MEGABYTE))

    await packages.download(ingredients.packages, debs, downloaded)
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=where.parent) as name:
        root, draft = Path(name) / "root", Path(name) / key
        root.mkdir()
        draft.mkdir(mode=0o755)
        count = len(ingredients.packages)
        for index, package in enumerate(ingredients.packages):
            report(Progress("unpacking packages", index, count))
            await packages.unpack(debs / package.file_name, root)
        report(Progress("unpacking packages", count, count))
        manifest = await _assemble(root, draft, key, ingredients, ours, report)
        _write(draft / "manifest.json", _json(manifest))
        await to_the_end(partial(_publish, draft, where))
        return current.located(manifest, where)


async def _assemble(
    root: Path,
    draft: Path,
    key: str,
    ingredients: Ingredients,
    ours: Sources,
    report: Report,
) -> Manifest:
    """Make the files of a guest from unpacked packages."""
    report(Progress("extracting the kernel"))
    source = unpacked.find_kernel(root)
    kernel_image = await unpacked.kernel(source)
    report(Progress("collecting kernel modules"))
    always = await unpacked.kernel_modules(source, (*recipe.BOOT_MODULES, *recipe.MODULES))
    on_demand = await unpacked.kernel_modules(source, recipe.ON_DEMAND_MODULES)
    there = {module.name for module in always}
    chosen = (*always, *(modules.packed(one) for one in on_demand if one.name not in there))
    for_root = await unpacked.kernel_modules(
        source, (*recipe.ROOT_DRIVERS, *recipe.ROOT_FILE_SYSTEMS)
    )
    report(Progress("compiling the agent"))
    interpreter = Interpreter(root, ingredients.python_version)
    python_files = await collect(interpreter, ours)
    report(Progress("packing the image"))
    programs = initrd.programs(
        root,
        (*recipe.PROGRAMS, interpreter.program),
        [node.data for node in python_files.values() if elf.is_elf(node.data)],
    )
    tree = {
        **initrd.base([module.name for module in chosen], interpreter.program),
        **initrd.kernel_modules(source.release, chosen),
        **python_files,
        **programs,
    }
    root_tree = rootinit.tree(source.release, for_root, programs["usr/bin/busybox"].data)
    outputs = {
        "vmlinux": kernel_image,
        "initrd": await to_the_end(lambda: b"".join(cpio.archive(tree))),
        "root-initrd": await to_the_end(lambda: b"".join(cpio.archive(root_tree))),
    }
    for name, data in outputs.items():
        await to_the_end(partial(_write, draft / name, data))
    busybox = root / "busybox"
    busybox.write_bytes(programs["usr/bin/busybox"].data)
    busybox.chmod(0o755)
    applets = (await process.run([busybox, "--list"])).stdout.decode().split()
    template = draft / "rootfs" / "busybox"
    template.mkdir(parents=True)
    rootfs.make_busybox(template, busybox.read_bytes(), applets)
    return Manifest(
        name=recipe.NAME,
        key=key,
        created=datetime.now(UTC).replace(microsecond=0),
        kernel="vmlinux",
        initrd="initrd",
        root_initrd="root-initrd",
        kernel_release=source.release,
        python_version=ingredients.python_version,
        kernel_params=recipe.KERNEL_PARAMS,
        min_memory=recipe.MIN_MEMORY_MIB,
        packages=ingredients.versions,
        outputs={name: _output(data) for name, data in outputs.items()},
        sources=ours.digests(),
        builder=current.builder_fingerprint(),
    )


def _key(ingredients: Ingredients, ours: Sources) -> str:
    """Names a guest by what goes into it."""
    parts = (ingredients.versions, ours.digests(), current.builder_fingerprint())
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:_KEY_LENGTH]


def _whole(where: Path) -> Manifest | None:
    found = current.read(where)
    return found if found is not None and current.is_whole(where, found) else None


def _usable(settings: Settings) -> Manifest | None:
    try:
        return current_guest(settings)
    except GuestNotBuilt:
        return None


def _forget_old(settings: Settings, ingredients: Ingredients) -> None:
    """Delete guests that nobody starts any more, and packages of other versions."""
    current_key = current.folder(settings).name
    old = [found for found in list_guests(settings) if found.key != current_key]
    for found in old[_KEPT_GUESTS - 1 :]:
        trees.remove_tree(current.guests_folder(settings) / found.key)
    packages.remove_others(settings.cache_dir / "debs", ingredients.packages)


def _output(data: bytes) -> Output:
    return Output(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _json(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, where: Path) -> None:
    """Give a whole guest its place; what is there goes where the draft was made, to be deleted."""
    _sync_folder(draft)
    if where.exists():
        where.rename(draft.with_name("replaced"))
    draft.rename(where)
    _sync_folder(where.parent)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _disk_problems(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise host_problem(error, f"build a guest in {folder}") from error
