"""Files, kernel and modules out of a folder into which packages were unpacked."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vctui.errors import GuestBuildFailed, MissingProgram
from vctui.image import kernel as bzimage
from vctui.image import modules
from vctui.linux import process

_PROGRAMS: Final = {"lz4": ("lz4", "-dcq")}
"""For what is not built in; kernels of some distributions need it."""


@dataclass(frozen=True, slots=True)
class KernelSource:
    image: Path
    """A bzImage."""
    modules: Path
    """The folder `<release>`."""

    @property
    def release(self) -> str:
        return self.modules.name


def find_kernel(root: Path) -> KernelSource:
    """The one kernel in the unpacked packages.

    Raises:
        GuestBuildFailed: there is none, or it has no modules.
    """
    for image in sorted(root.glob("boot/vmlinuz-*")):
        release = image.name.removeprefix("vmlinuz-")
        for parent in ("usr/lib/modules", "lib/modules"):
            if (folder := root / parent / release).is_dir():
                return KernelSource(image, folder)
    raise GuestBuildFailed(
        "the kernel's packages hold no kernel with modules; report this with your distribution"
    )


def find_file(root: Path, name: str) -> Path:
    """A file of the packages, whether or not its package knows of the merged `/usr`.

    Raises:
        GuestBuildFailed: it is in none of the packages.
    """
    for candidate in (root / name, root / name.removeprefix("usr/")):
        with suppress(FileNotFoundError):
            return _follow(root, candidate)
    raise GuestBuildFailed(
        f"none of the guest's packages has {posixpath.basename(name)}; "
        "report this with the versions of your distribution"
    )


def _follow(root: Path, path: Path, depth: int = 8) -> Path:
    """Follow links as the guest would: absolute ones start at `root`."""
    if path.is_symlink() and depth:
        target = path.readlink()
        below = root / str(target).lstrip("/") if target.is_absolute() else path.parent / target
        return _follow(root, Path(posixpath.normpath(below)), depth - 1)
    path.lstat()
    return path


async def kernel(source: KernelSource) -> bytes:
    """The kernel as QEMU boots it quickest.

    Raises:
        GuestBuildFailed: it is broken.
        MissingProgram: it is compressed with what this host cannot decompress.
    """
    image = source.image.read_bytes()
    try:
        packed = bzimage.payload(image)
        plain = await decompress(packed)
        return await asyncio.to_thread(bzimage.bootable, plain) or image
    except ValueError as error:
        raise GuestBuildFailed(
            f"the kernel {source.image.name} cannot be used: {error}; build again with --force"
        ) from error


async def kernel_modules(source: KernelSource, wanted: Iterable[str]) -> tuple[modules.Module, ...]:
    """The wanted modules and what they need, in the order of insertion.

    Raises:
        GuestBuildFailed: one is missing or broken.
        MissingProgram: they are compressed with what this host cannot decompress.
    """
    wanted = tuple(name.replace("-", "_") for name in wanted)
    below = (str(file.relative_to(source.modules)) for file in source.modules.rglob("*.ko*"))
    paths = modules.index(below)
    listing = (source.modules / "modules.builtin").read_text(encoding="utf-8").splitlines()
    builtin = modules.index(listing)
    known: dict[str, modules.Module | None] = {}
    pending = set(wanted)
    while pending:
        for name in sorted(pending):
            if name in paths:
                known[name] = await _read_module(source.modules, paths[name])
            elif name in builtin:
                known[name] = None
            else:
                raise GuestBuildFailed(
                    f"the kernel {source.release} has no module {name}, which the guest needs; "
                    "report this with your distribution"
                )
        pending = {need for found in known.values() if found for need in found.depends}
        pending -= known.keys()
    return modules.in_order(wanted, known)


async def decompress(data: bytes) -> bytes:
    """Decompress a kernel or module, by a program where need be.

    Raises:
        ValueError: the data is broken.
        MissingProgram: the program is not installed.
    """
    name = bzimage.compression(data)
    if name not in _PROGRAMS:
        return await asyncio.to_thread(bzimage.decompress, name, data)
    program = _PROGRAMS[name]
    try:
        done = await process.run(program, stdin=data)
    except FileNotFoundError as error:
        raise MissingProgram(
            f"the guest's kernel is compressed with {name}, which is not installed; "
            f"run: apt-get install {name}"
        ) from error
    if not done.stdout:  # what the kernel's build appends makes them fail after the last byte
        raise ValueError(f"broken {name} data")
    return done.stdout


async def _read_module(folder: Path, path: str) -> modules.Module:
    data = (folder / path).read_bytes()
    plain_path = path[: path.index(".ko") + 3]
    try:
        if plain_path != path:
            data = await decompress(data)
        return modules.parse(plain_path, data)
    except ValueError as error:
        raise GuestBuildFailed(
            f"the kernel module {path} cannot be used: {error}; build again with --force"
        ) from error
