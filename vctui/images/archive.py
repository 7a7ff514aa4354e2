"""What an image can be imported from: docker-archive tar, oci-archive tar, OCI layout folder."""

from __future__ import annotations

import hashlib
import posixpath
import stat
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from vctui.errors import FileProblem
from vctui.images.layer import forget_members
from vctui.images.stream import CHUNK, Limits, broken_stream, decompressed, is_compressed, too_large
from vctui.wire import imagespec
from vctui.wire.imagespec import MAX_DOCUMENT, Descriptor, ImageConfig

MAX_MEMBERS: Final = 100_000
MAX_NESTING: Final = 4
MAX_IMAGES: Final = 256


class Source(ABC):
    """Named pieces of an image."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Seekable. Raises FileProblem where there is no such piece."""

    @abstractmethod
    def has(self, name: str) -> bool: ...

    def document(self, name: str, digest: str = "") -> bytes:
        """A small piece as a whole, checked against its digest."""
        with self.open(name) as file:
            raw = file.read(MAX_DOCUMENT + 1)
        if len(raw) > MAX_DOCUMENT:
            raise FileProblem(f"the image's {name!r} is larger than 4 MiB; export it again")
        if digest and f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
            raise _changed(name)
        return raw

    def check_blob(self, name: str, digest: str, check: Callable[[], None]) -> None:
        """Raises FileProblem where the piece is not what its digest says."""
        found = hashlib.sha256()
        with self.open(name) as file:
            while data := file.read(CHUNK):
                check()
                found.update(data)
        if f"sha256:{found.hexdigest()}" != digest:
            raise _changed(name)


class Folder(Source):
    """An OCI layout on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO:
        path = self._root / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise FileProblem(f"{path} is no regular file; give an OCI image layout")
            return path.open("rb")
        except OSError as error:
            raise FileProblem(
                f"cannot read {path} of the image: {error.strerror}; export the image again"
            ) from error

    def has(self, name: str) -> bool:
        return (self._root / name).is_file()


class Archive(Source):
    """A tar of either kind. Nothing of it is unpacked; where a name comes twice the last counts."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            self._tar = tarfile.open(fileobj=_bounded(file), mode="r:", encoding="utf-8")  # noqa: SIM115
            while (member := self._tar.next()) is not None:
                forget_members(self._tar)
                self._members[posixpath.normpath(member.name)] = member
                if len(self._members) > MAX_MEMBERS:
                    raise FileProblem(f"{path} has more than {MAX_MEMBERS} entries; name an image")
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise FileProblem(
                f"{path} is no tar archive of an image ({error}); make one with `docker save`, "
                "`skopeo copy` or `podman save`"
            ) from error

    def open(self, name: str) -> BinaryIO:
        member = self._members.get(posixpath.normpath(name))
        if member is not None and member.issym():  # docker once wrote equal layers so
            aim = posixpath.join(posixpath.dirname(member.name), member.linkname)
            member = self._members.get(posixpath.normpath(aim))
        elif member is not None and member.islnk():
            member = self._members.get(posixpath.normpath(member.linkname))
        if member is None or not member.isreg():
            raise FileProblem(
                f"{self._path} lacks {name[:200]!r}, which its manifest names; export it again"
            )
        found: Any = self._tar.extractfile(member)
        if found is None:
            raise FileProblem(f"{self._path} cannot give {name[:200]!r}; export it again")
        file: BinaryIO = found
        return file

    def has(self, name: str) -> bool:
        return posixpath.normpath(name) in self._members


class _Bounded:
    """A file whose tar headers cannot claim the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_DOCUMENT:
            raise FileProblem("the archive has a header of unreasonable size; do not use it")
        return self._file.read(size)


def _bounded(file: BinaryIO) -> Any:
    return _Bounded(file)


@dataclass(frozen=True, slots=True)
class Layer:
    path: str
    digest: str
    """Of the bytes in the source; "" where the source does not say."""
    diff_id: str
    """Of the uncompressed bytes."""


@dataclass(frozen=True, slots=True)
class Found:
    """One image of a source."""

    names: tuple[str, ...]
    digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]


@contextmanager
def opened(
    path: Path, scratch: Path, limits: Limits, check: Callable[[], None]
) -> Iterator[Source]:
    """What `path` holds; a compressed archive is decompressed into `scratch` first.

    Raises:
        FileProblem: it is missing, or neither an archive nor an OCI layout.
    """
    try:
        if path.is_dir():
            yield Folder(path)
            return
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileProblem(f"{path} is no regular file; name an archive or an OCI layout")
        file = path.open("rb")
    except OSError as error:
        raise FileProblem(
            f"cannot read {path}: {error.strerror}; name an image archive or an OCI layout folder"
        ) from error
    with file:
        if not is_compressed(file):
            yield Archive(path, file)
            return
        plain = scratch / "archive"
        _decompress(path, file, plain, limits, check)
        with plain.open("rb") as inner:
            yield Archive(path, inner)


def find_images(source: Source, *, stem: str) -> list[Found]:
    """The images of a source, for our platform; `stem` names those that have but a tag.

    Raises:
        FileProblem: it is no image, or what its manifests name is missing or changed.
    """
    if source.has("manifest.json"):
        entries = imagespec.parse_docker_manifest(source.document("manifest.json"))
        found = [_docker_image(source, one) for one in entries]
    elif source.has("index.json"):
        manifests = imagespec.parse_index(source.document("index.json"))
        found = _oci_images(source, manifests, stem)
    else:
        raise FileProblem(
            "there is neither a manifest.json nor an index.json, so it is no image; make one "
            "with `docker save`, `podman save` or `skopeo copy`"
        )
    if not found or len(found) > MAX_IMAGES:
        raise FileProblem(
            f"there are {len(found)} images in it; 1 to {MAX_IMAGES} can be imported at once"
        )
    return found


def _docker_image(source: Source, entry: imagespec.DockerImage) -> Found:
    stem = posixpath.basename(entry.config).removesuffix(".json")
    claimed = f"sha256:{stem}" if len(stem) == 64 else ""
    raw = source.document(entry.config, claimed)
    config = imagespec.parse_config(raw, layers=len(entry.layers))
    layers = tuple(
        Layer(path, _blob_digest(path), diff_id)
        for path, diff_id in zip(entry.layers, config.diff_ids, strict=True)
    )
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    return Found(tuple(entry.names or ()), digest, config, layers)


def _blob_digest(path: str) -> str:
    head, _, value = path.rpartition("/")
    return f"sha256:{value}" if head == "blobs/sha256" else ""


def _oci_images(source: Source, manifests: list[Descriptor], stem: str) -> list[Found]:
    """Each name is an image; manifests without names are one image for several platforms."""
    groups: dict[str, list[Descriptor]] = {}
    for one in manifests:
        groups.setdefault(one.name, []).append(one)
    return [_oci_image(source, name, group, stem) for name, group in groups.items()]


def _oci_image(source: Source, name: str, manifests: list[Descriptor], stem: str) -> Found:
    chosen = imagespec.choose(manifests)
    for _ in range(MAX_NESTING):
        if not chosen.is_index:
            break
        nested = source.document(chosen.path, chosen.digest)
        chosen = imagespec.choose(imagespec.parse_index(nested))
    manifest = imagespec.parse_manifest(source.document(chosen.path, chosen.digest))
    raw = source.document(manifest.config.path, manifest.config.digest)
    config = imagespec.parse_config(raw, layers=len(manifest.layers))
    layers = tuple(
        Layer(one.path, one.digest, diff_id)
        for one, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    )
    if name and ":" not in name and "/" not in name:
        name = f"{stem}:{name}"  # the specification calls the bare tag its name
    return Found((name,) if name else (), manifest.config.digest, config, layers)


def _decompress(
    path: Path, file: BinaryIO, target: Path, limits: Limits, check: Callable[[], None]
) -> None:
    done = 0
    try:
        with target.open("xb") as out:
            stream = decompressed(file)
            while data := stream.read(CHUNK):
                check()
                out.write(data)
                done += len(data)
                if done > limits.max_bytes:
                    raise too_large(limits)
    except broken_stream() as error:
        raise FileProblem(f"{path} is damaged ({error}); export the image again") from error


def _changed(name: str) -> FileProblem:
    return FileProblem(
        f"the image's {name[:200]!r} is not what its digest says; it is damaged or was changed, "
        "export it again"
    )
