"""Debian packages: looked up, downloaded and unpacked; nothing is installed, no root needed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from vctui.errors import GuestBuildFailed, MissingProgram
from vctui.image.threads import to_the_end
from vctui.linux import process, trees

_DOWNLOAD: Final = ("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2")
"""As root apt would download as user `_apt`, who may not write into our folders."""

_POLL_SECONDS: Final = 0.2
_DRAFT: Final = ".download-"


@dataclass(frozen=True, slots=True)
class Package:
    """A package as apt knows it: the version that it would install."""

    name: str
    version: str
    depends: tuple[tuple[str, ...], ...]
    """What it depends on; of each group one is enough."""
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """What `apt-get download` calls it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}.deb"


Follow = Callable[[Package, str], bool]
"""Whether a package's dependency of that name is wanted."""


def parse_stanzas(text: str) -> Iterator[Package]:
    """Read what `apt-cache show` prints; incomplete stanzas are left out."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        for line in stanza.splitlines():
            key, colon, value = line.partition(":")
            if colon and key and not key[0].isspace():
                fields.setdefault(key, value.strip())
        if "Package" in fields and "Version" in fields and "Filename" in fields:
            both = ", ".join(
                filter(None, (fields.get("Pre-Depends", ""), fields.get("Depends", "")))
            )
            size = fields.get("Size", "")
            yield Package(
                name=fields["Package"],
                version=fields["Version"],
                depends=tuple(parse_dependencies(both)),
                size=int(size) if size.isdecimal() else 0,
                sha256=fields.get("SHA256", "").lower(),
            )


def parse_dependencies(text: str) -> Iterator[tuple[str, ...]]:
    """Read a dependency field: `a (>= 1) | b, c:any` is `(a, b)` and `(c,)`."""
    for group in text.split(","):
        names = tuple(
            match.group(1)
            for one in group.split("|")
            if (match := re.match(r"\s*([a-z0-9][a-z0-9+.-]+)", one))
        )
        if names:
            yield names


class Apt:
    """What the host's apt has to offer. Look-ups are local and remembered.

    Args:
        folder: where apt may keep its index. Its own is writable by root only, and container
            images switch it off: then every look-up takes a second.
    """

    def __init__(self, folder: Path) -> None:
        self._known: dict[str, Package | None] = {}
        self._folder = folder
        self._options = (
            "-o",
            f"Dir::Cache::pkgcache={folder / 'pkgcache.bin'}",
            "-o",
            f"Dir::Cache::srcpkgcache={folder / 'srcpkgcache.bin'}",
        )

    async def look_up(self, names: Iterable[str]) -> Mapping[str, Package]:
        """Those of the packages that can be had, by name.

        Raises:
            MissingProgram: this host has no apt.
        """
        wanted = list(dict.fromkeys(names))
        if unknown := [name for name in wanted if name not in self._known]:
            self._known.update(dict.fromkeys(unknown))
            self._folder.mkdir(parents=True, exist_ok=True)
            argv = ["apt-cache", *self._options, "show", "--no-all-versions", "--", *unknown]
            shown = await _run(argv)
            text = shown.stdout.decode("utf-8", "replace")
            self._known.update({package.name: package for package in parse_stanzas(text)})
        return {name: found for name in wanted if (found := self._known[name])}

    async def get(self, name: str) -> Package:
        """One package.

        Raises:
            GuestBuildFailed: apt does not know it.
        """
        if found := (await self.look_up([name])).get(name):
            return found
        raise GuestBuildFailed(
            f"the guest needs the package {name}, which apt does not know; run: apt-get update"
        )

    async def closure(self, roots: Iterable[str], follow: Follow) -> tuple[Package, ...]:
        """The roots and all that they depend on, as far as `follow` says, sorted by name.

        Raises:
            GuestBuildFailed: one of them cannot be had.
        """
        chosen: dict[str, Package] = {}
        wanted = list(roots)
        while wanted:
            await self.look_up(wanted)
            fresh = [await self.get(name) for name in dict.fromkeys(wanted) if name not in chosen]
            chosen.update({package.name: package for package in fresh})
            groups = [
                names
                for package in fresh
                for group in package.depends
                if (names := tuple(name for name in group if follow(package, name)))
            ]
            offered = await self.look_up(name for group in groups for name in group)
            wanted = [
                next((name for name in group if name in offered), group[0])
                for group in groups
                if not any(name in chosen for name in group)
            ]
        return tuple(chosen[name] for name in sorted(chosen))


async def download(
    packages: Sequence[Package], folder: Path, progress: Callable[[int, int], None]
) -> None:
    """Have every package in `folder`; what is there and whole is kept.

    Args:
        progress: is told the bytes done and in all.

    Raises:
        GuestBuildFailed: names the first package that could not be had.
    """
    missing = await to_the_end(partial(_missing, packages, folder))
    if not missing:
        return
    total = sum(package.size for package in missing)
    progress(0, total)
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=folder) as name:
        draft = Path(name)
        exact = [f"{package.name}={package.version}" for package in missing]
        argv = ["apt-get", *_DOWNLOAD, "--quiet", "download", "--", *exact]
        command = asyncio.ensure_future(_run(argv, cwd=draft))
        try:
            while not command.done():
                await asyncio.wait([command], timeout=_POLL_SECONDS)
                progress(min(sum(_sizes(draft)), total), total)
        finally:
            command.cancel()
            await asyncio.wait([command])
        said = command.result().stderr.decode("utf-8", "replace")
        for package in missing:
            if not await to_the_end(partial(_keep, package, draft, folder)):
                raise GuestBuildFailed(
                    f"the package {package.name} {package.version} could not be downloaded"
                    f"{_reason(said)}; check the network, or run: apt-get update"
                )
    progress(total, total)


async def unpack(package: Path, folder: Path) -> None:
    """Unpack the files of a .deb below `folder`.

    Raises:
        GuestBuildFailed: the file is broken, or the disk is full.
    """
    done = await _run(["dpkg-deb", "--extract", package, folder])
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GuestBuildFailed(
            f"{package} could not be unpacked: {said[-1] if said else done.returncode}; "
            "make room or delete the file, and build again"
        )


def remove_others(folder: Path, kept: Iterable[Package]) -> None:
    """Delete other versions of the packages from `folder`."""
    files = {package.file_name for package in kept}
    names = tuple(f"{package.name}_" for package in kept)
    for file in folder.glob("*.deb"):
        if file.name not in files and file.name.startswith(names):
            file.unlink(missing_ok=True)


async def _run(argv: Sequence[str | Path], *, cwd: Path | None = None) -> process.Completed:
    try:
        return await process.run(argv, cwd=cwd, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError as error:
        if shutil.which(str(argv[0])):
            raise
        raise MissingProgram(
            f"{argv[0]} is not installed: guests are built on Debian and Ubuntu only; "
            "build there and copy the cache folder"
        ) from error


def _missing(packages: Sequence[Package], folder: Path) -> list[Package]:
    """Which of the packages are not in `folder`, where left-overs of dead builders are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob(f"{_DRAFT}*"):
        trees.remove_tree(left_over)
    return [package for package in packages if not _is_whole(folder / package.file_name, package)]


def _keep(package: Package, draft: Path, folder: Path) -> bool:
    """Move a downloaded package to its place if it is there and whole."""
    got = next(draft.glob(f"{package.name}_*.deb"), None)
    if got is None or not _is_whole(got, package):
        return False
    got.replace(folder / package.file_name)
    return True


def _is_whole(file: Path, package: Package) -> bool:
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    return digest == package.sha256


def _sizes(folder: Path) -> Iterator[int]:
    for entry in os.scandir(folder):
        try:
            yield entry.stat().st_size
        except FileNotFoundError:
            continue


def _reason(said: str) -> str:
    """apt's first complaint, in brackets, without the addresses it names."""
    for line in said.splitlines():
        if line.startswith("E: "):
            return f" ({re.sub(r'https?://[^ ]+ *', '', line[3:]).strip().rstrip('.')})"
    return ""
