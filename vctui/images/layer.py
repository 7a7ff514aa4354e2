"""One layer's tar, applied to a folder: nothing outside of the folder is ever touched.

Layers come from strangers. Names are walked component by component on file descriptors; links on
the way are followed as if the folder were the root of the file system, so that neither `..` nor
an absolute link leads out of it. Device nodes are left out: a guest cannot use them on a shared
folder, and a host should not have them. Attributes that overlayfs would obey are left out too.
Whiteouts (OCI image specification, "layer") remove what lower layers have.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vctui.errors import DiskFull, FileProblem
from vctui.images.stream import CHUNK, LayerStream, Limits, broken_stream, too_large
from vctui.linux import probe
from vctui.linux.problems import host_problem

MAX_DEPTH: Final = 128
MAX_LINKS: Final = 40
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_AUFS: Final = ".wh..wh."
"""Begins the names of aufs's own records, which mean nothing here."""
_XATTR: Final = "SCHILY.xattr."
_MAX_ID: Final = 2**32 - 2


class Unpacker:
    """Applies layers to `root`, the lowest first; counts what comes out of all of them."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.bytes = 0
        self._entries = 0
        self._limits = limits
        self._root = root
        self._owner = probe.is_root()
        self._added: set[str] = set()
        """Paths that the layer at hand made; its whiteouts do not concern them."""

    def apply(self, stream: LayerStream) -> str:
        """Apply one layer; the digest of its uncompressed bytes.

        Raises:
            FileProblem: it is no tar, is hostile, or grows out of bounds.
            HostProblem: the disk is full, or does not take its names.
        """
        self._added = set()
        try:
            with tarfile.open(
                fileobj=_file(stream),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
            ) as tar:
                self._members(tar, stream)
            stream.allow_data()
            return stream.finish()
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise FileProblem(
                f"the image has a layer that is no tar archive ({error}); export it again"
            ) from error
        except broken_stream() as error:
            raise FileProblem(
                f"the image has a layer that is damaged ({error}); export it again"
            ) from error
        except OSError as error:
            problem = host_problem(error, f"unpack the image to {self._root}")
            if isinstance(problem, DiskFull) or self._is_ours(error):
                raise problem from error
            raise FileProblem(
                f"the image has an entry that cannot be made here ({error.strerror}: "
                f"{str(error.filename)[:200]!r}); do not use it"
            ) from error

    @staticmethod
    def _is_ours(error: OSError) -> bool:
        return isinstance(error, PermissionError)

    def _members(self, tar: tarfile.TarFile, stream: LayerStream) -> None:
        while True:
            stream.allow_header()
            member = tar.next()
            forget_members(tar)
            if member is None:
                return
            stream.allow_data()
            self._entries += 1
            if self._entries > self._limits.max_entries:
                raise FileProblem(
                    f"the image has more than {self._limits.max_entries} files; do not use it"
                )
            self._member(tar, member)

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.isdir():
                with self._folder(()) as (root, _):
                    self._dress(root, ".", member)
            return
        *above, name = parts
        with self._folder(above) as (folder, real):
            if name == _OPAQUE:
                self._clear(folder, real)
            elif name.startswith(_AUFS):
                return
            elif name.startswith(_WHITEOUT):
                self._white_out(folder, real, name.removeprefix(_WHITEOUT))
            elif not member.isdev() or member.isfifo():
                self._make(tar, member, folder, name)
                self._added.update("/".join((*real, name)[:n]) for n in range(1, len(real) + 2))

    def _make(self, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: int, name: str) -> None:
        mode = _lstat_mode(folder, name)
        if member.isdir():
            if not stat.S_ISDIR(mode):
                _remove(folder, name)
                os.mkdir(name, 0o700, dir_fd=folder)
        elif member.islnk():
            self._link(member, folder, name)
            return
        else:
            _remove(folder, name)
            if member.issym():
                os.symlink(member.linkname, name, dir_fd=folder)
            elif member.isfifo():
                os.mkfifo(name, 0o600, dir_fd=folder)
            else:
                self._file(tar, member, folder, name)
        self._dress(folder, name, member)

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: int, name: str) -> None:
        if member.size > self._limits.max_bytes - self.bytes:
            raise too_large(self._limits)
        source = tar.extractfile(member)
        with os.fdopen(os.open(name, _NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
            missing = member.size
            while missing and source and (data := source.read(min(CHUNK, missing))):
                file.write(data)
                missing -= len(data)
        if missing:
            raise FileProblem(
                f"the image's file {member.name[:200]!r} is cut off; export the image again"
            )
        self.bytes += member.size

    def _link(self, member: tarfile.TarInfo, folder: int, name: str) -> None:
        """A hard link, to a file of the image that is there already."""
        *above, original = _parts(member.linkname) or (".",)
        with self._folder(above) as (origin, _):
            mode = _lstat_mode(origin, original)
            if not mode or stat.S_ISDIR(mode):
                raise FileProblem(
                    f"the image links {member.name[:200]!r} to {member.linkname[:200]!r}, "
                    "which is no file of it; do not use it"
                )
            if _same(origin, original, folder, name):
                return
            _remove(folder, name)
            os.link(original, name, src_dir_fd=origin, dst_dir_fd=folder, follow_symlinks=False)

    def _dress(self, folder: int, name: str, member: tarfile.TarInfo) -> None:
        """Owner, mode, attributes and time."""
        if self._owner:
            if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
                raise FileProblem(
                    f"the image's {member.name[:200]!r} belongs to nobody; do not use it"
                )
            os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        if not member.issym():
            mode = stat.S_IMODE(member.mode)
            if not self._owner:  # we must be able to go in, and to remove it
                mode |= 0o700 if member.isdir() else 0o600
            os.chmod(name, mode, dir_fd=folder)
        if member.isreg():
            self._attributes(folder, name, member)
        with suppress(ValueError, OverflowError):
            seconds = int(member.mtime)
            os.utime(name, (seconds, seconds), dir_fd=folder, follow_symlinks=False)

    def _attributes(self, folder: int, name: str, member: tarfile.TarInfo) -> None:
        for key, value in member.pax_headers.items():
            if not key.startswith(_XATTR) or not self._owner:
                continue
            attribute = key.removeprefix(_XATTR)
            if attribute == "security.capability":
                with suppress(OSError):  # not every file system has them
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                    try:
                        os.setxattr(fd, attribute, os.fsencode(value))
                    finally:
                        os.close(fd)

    def _white_out(self, folder: int, real: tuple[str, ...], name: str) -> None:
        if name in {"", ".", ".."}:
            raise FileProblem("the image has a whiteout that names no file; do not use it")
        path = "/".join((*real, name))
        if path not in self._added:
            _remove(folder, name)
        elif stat.S_ISDIR(_lstat_mode(folder, name)):
            with self._folder((*real, name)) as (inner, place):
                self._clear(inner, place)

    def _clear(self, folder: int, real: tuple[str, ...]) -> None:
        """Remove what lower layers have in a folder."""
        for name in os.listdir(folder):
            if "/".join((*real, name)) not in self._added:
                _remove(folder, name)
            elif stat.S_ISDIR(_lstat_mode(folder, name)):
                with self._folder((*real, name)) as (inner, place):
                    self._clear(inner, place)

    @contextmanager
    def _folder(self, parts: list[str] | tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """A descriptor of a folder below the root, made where it is missing, and its real path."""
        pending = list(reversed(parts))
        real: list[str] = []
        links = 0
        folder = os.open(self._root, _FOLDER)
        try:
            while pending:
                part = pending.pop()
                if part in {"", "."} or (part == ".." and not real):
                    continue
                below, target = _step(folder, part)
                if below is not None:
                    os.close(folder)
                    folder = below
                    if part == "..":
                        real.pop()
                    else:
                        real.append(part)
                    if len(real) > MAX_DEPTH:
                        raise FileProblem(
                            f"the image has folders deeper than {MAX_DEPTH}; do not use it"
                        )
                    continue
                links += 1
                if links > MAX_LINKS:
                    raise FileProblem("the image has links in a circle; do not use it")
                if target.startswith("/"):
                    os.close(folder)
                    folder = os.open(self._root, _FOLDER)
                    real.clear()
                pending.extend(reversed(target.split("/")))
            yield folder, tuple(real)
        finally:
            os.close(folder)


def forget_members(tar: Any) -> None:
    """tarfile would remember every entry it has read."""
    tar.members.clear()


def _file(stream: LayerStream) -> Any:
    """tarfile takes anything that reads, tells and seeks."""
    return stream


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts or "\0" in name:
        raise FileProblem(
            f"the image has an entry {name[:200]!r}, which leads out of it; do not use it"
        )
    if len(parts) > MAX_DEPTH:
        raise FileProblem(f"the image has folders deeper than {MAX_DEPTH}; do not use it")
    return parts


def _step(folder: int, part: str) -> tuple[int | None, str]:
    """A descriptor of `part`, made where it is missing; or where the link `part` leads."""
    mode = _lstat_mode(folder, part)
    if stat.S_ISLNK(mode):
        return None, os.readlink(part, dir_fd=folder)
    if not mode:
        os.mkdir(part, 0o755, dir_fd=folder)
    elif not stat.S_ISDIR(mode):
        raise FileProblem(
            f"the image has {part[:200]!r} both as a file and as a folder; do not use it"
        )
    return os.open(part, _FOLDER, dir_fd=folder), ""


def _lstat_mode(folder: int, name: str) -> int:
    """0 where there is nothing."""
    try:
        return os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return 0


def _same(folder: int, name: str, other: int, second: str) -> bool:
    if not _lstat_mode(other, second):
        return False
    return os.path.samestat(os.lstat(name, dir_fd=folder), os.lstat(second, dir_fd=other))


def _remove(folder: int, name: str) -> None:
    mode = _lstat_mode(folder, name)
    if stat.S_ISDIR(mode):
        shutil.rmtree(name, dir_fd=folder)
    elif mode:
        os.unlink(name, dir_fd=folder)
