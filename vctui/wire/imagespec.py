"""Documents of container images: OCI image layout, index, manifest, configuration, and the
manifest of docker-archive tars (OCI image specification 1.1; behaviour of `docker save`). Pure.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, Final, TypeVar

import msgspec

from vctui.errors import FileProblem
from vctui.model import signals
from vctui.model.container import EnvVar
from vctui.model.image import ImageDefaults

MAX_DOCUMENT: Final = 4 * 1024 * 1024
"""Bytes; what registries allow a manifest."""
MAX_LAYERS: Final = 1024
PLATFORM: Final = ("linux", "amd64")

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAME_KEYS: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")

T = TypeVar("T")


class Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename={"media_type": "mediaType"}):
    """Names a blob by its digest."""

    digest: str
    size: int = -1
    media_type: str = ""
    platform: Platform | None = None
    annotations: dict[str, str] | None = None

    @property
    def path(self) -> str:
        """Of the blob in an image layout. Raises FileProblem."""
        algorithm, _, value = check_digest(self.digest).partition(":")
        return f"blobs/{algorithm}/{value}"

    @property
    def is_index(self) -> bool:
        return self.media_type in _INDEX_TYPES

    @property
    def name(self) -> str:
        """What the layout calls the image; "" where it does not say."""
        known = self.annotations or {}
        return next((known[key] for key in _NAME_KEYS if known.get(key)), "")

    @property
    def fits(self) -> bool:
        """Whether it is for our platform, as far as it says."""
        if self.platform is None or not self.platform.os:
            return True
        return (self.platform.os, self.platform.architecture) == PLATFORM


class _Index(msgspec.Struct, frozen=True):
    manifests: list[Descriptor]


class Manifest(msgspec.Struct, frozen=True):
    config: Descriptor
    layers: list[Descriptor]


class DockerImage(
    msgspec.Struct,
    frozen=True,
    rename={"config": "Config", "names": "RepoTags", "layers": "Layers"},
):
    """One entry of a docker-archive's manifest.json: paths in the archive."""

    config: str
    layers: list[str]
    names: list[str] | None = None


class _Process(
    msgspec.Struct,
    frozen=True,
    rename={
        "entrypoint": "Entrypoint",
        "cmd": "Cmd",
        "env": "Env",
        "work_dir": "WorkingDir",
        "user": "User",
        "stop_signal": "StopSignal",
    },
):
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    work_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: list[str]


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs
    config: _Process | None = None
    os: str = ""
    architecture: str = ""


class ImageConfig(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layers, the lowest first."""
    defaults: ImageDefaults


def check_digest(text: str) -> str:
    if not _DIGEST.match(text):
        raise FileProblem(
            f"the image has the digest {text[:80]!r}, which is no sha256 digest; export it again"
        )
    return text


def parse_index(raw: bytes) -> list[Descriptor]:
    """The manifests of an index.json or of a nested index. Raises FileProblem."""
    return _document(raw, _Index, "index").manifests


def choose(manifests: list[Descriptor]) -> Descriptor:
    """The one for our platform; one that names it before one that names none.

    Raises:
        FileProblem: there is none.
    """
    fitting = [one for one in manifests if one.fits and not _is_attestation(one)]
    if not fitting:
        platforms = [one.platform for one in manifests if one.platform]
        offered = ", ".join(sorted({f"{one.os}/{one.architecture}" for one in platforms}))
        raise FileProblem(
            f"the image is not for {'/'.join(PLATFORM)} but for {offered[:200] or 'nothing'}; "
            f"export it for {'/'.join(PLATFORM)}"
        )
    return next((one for one in fitting if one.platform is not None), fitting[0])


def parse_manifest(raw: bytes) -> Manifest:
    """Raises FileProblem."""
    manifest = _document(raw, Manifest, "manifest")
    _check_count(len(manifest.layers))
    return manifest


def parse_docker_manifest(raw: bytes) -> list[DockerImage]:
    """A docker-archive's manifest.json. Raises FileProblem."""
    images = _document(raw, list[DockerImage], "manifest.json")
    for one in images:
        _check_count(len(one.layers))
    return images


def parse_config(raw: bytes, *, layers: int) -> ImageConfig:
    """An image's configuration, which must be about `layers` layers. Raises FileProblem."""
    config = _document(raw, _Config, "configuration")
    platform = (config.os or PLATFORM[0], config.architecture or PLATFORM[1])
    if platform != PLATFORM:
        raise FileProblem(
            f"the image is for {'/'.join(platform)[:80]}, not for {'/'.join(PLATFORM)}; "
            "export it for that"
        )
    if len(config.rootfs.diff_ids) != layers:
        raise FileProblem(
            f"the image has {layers} layers but digests for {len(config.rootfs.diff_ids)}; "
            "export it again"
        )
    process = config.config or _Process()
    pairs = [item.partition("=") for item in process.env or ()]
    defaults = ImageDefaults(
        entrypoint=tuple(process.entrypoint or ()),
        cmd=tuple(process.cmd or ()),
        envs=tuple(EnvVar(var, value) for var, equals, value in pairs if var and equals),
        work_dir=posixpath.join("/", process.work_dir) if process.work_dir else "",
        user=process.user or "",
        stop_signal=process.stop_signal or "",
    )
    if defaults.stop_signal:
        try:
            signals.parse(defaults.stop_signal)
        except ValueError as error:
            raise FileProblem(f"the image's stop signal {error}; build it anew") from error
    if "\0" in "".join(_texts(defaults)):
        raise FileProblem("the image's configuration holds a NUL character; export it again")
    return ImageConfig(tuple(check_digest(one) for one in config.rootfs.diff_ids), defaults)


def _texts(defaults: ImageDefaults) -> list[str]:
    variables = [text for each in defaults.envs for text in (each.var, each.value)]
    process = (defaults.work_dir, defaults.user)
    return [*defaults.entrypoint, *defaults.cmd, *variables, *process]


def _is_attestation(one: Descriptor) -> bool:
    return (one.annotations or {}).get("vnd.docker.reference.type") == "attestation-manifest"


def _check_count(layers: int) -> None:
    if layers > MAX_LAYERS:
        raise FileProblem(f"the image has {layers} layers; {MAX_LAYERS} is the most")


def _document(raw: bytes, kind: type[T], what: str) -> T:
    try:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        found: T = decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FileProblem(
            f"the image's {what} cannot be read ({error}); export the image again"
        ) from error
    return found
