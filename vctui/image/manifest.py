"""What a built guest is made of, as `manifest.json` beside it says."""

from __future__ import annotations

from datetime import datetime

import msgspec

FORMAT = 2
"""Of the file; a guest with another one is built again."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the guest."""

    size: int
    """Bytes."""
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that pods can boot."""

    name: str
    """Of the recipe."""
    key: str
    """Hash of everything that went in; the name of its folder."""
    created: datetime
    kernel: str
    """Path; in the file below the guest's folder, in what the builder returns absolute."""
    initrd: str
    """Path, like `kernel`."""
    root_initrd: str
    """Path, like `kernel`: what mounts the disk that `root=` names, for images of one's own."""
    kernel_release: str
    python_version: str
    kernel_params: tuple[str, ...]
    min_memory: int
    """MiB below which it does not boot."""
    packages: dict[str, str]
    """Versions by name."""
    outputs: dict[str, Output]
    """By path below the guest's folder."""
    sources: dict[str, str]
    """SHA-256 of our own modules in the image, by path below the package."""
    builder: str
    """Fingerprint of the builder itself."""
    format: int = FORMAT
