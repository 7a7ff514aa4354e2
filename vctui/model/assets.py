"""Assets that a pod's annotations name instead of its hypervisor_config (behaviour of the API's
`com.github.containers.virtcontainers.*Path`, `*Hash` and `AssetHashType` annotations)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from vctui.errors import InvalidConfig
from vctui.model.hypervisor import HypervisorConfig

PREFIX: Final = "com.github.containers.virtcontainers."
HASH_TYPE_KEY: Final = f"{PREFIX}AssetHashType"
HASH_TYPE: Final = "sha512"
"""The only one; also where the annotation is missing."""

_FIELDS: Final = {
    "Kernel": "kernel_path",
    "Image": "image_path",
    "Initrd": "initrd_path",
    "Hypervisor": "hypervisor_path",
    "Firmware": "firmware_path",
}
_HASH: Final = re.compile(r"[0-9a-fA-F]{128}\Z")


class Asset(msgspec.Struct, frozen=True):
    """A file of the host that annotations ask for."""

    field: str
    """Of HypervisorConfig, which it replaces."""
    path: str
    hash_key: str
    """The annotation with its hash."""
    sha512: str
    """Lower-case hexadecimal digits; "" where the file is taken as it is."""


def from_annotations(annotations: Mapping[str, str]) -> tuple[Asset, ...]:
    """The assets that are asked for. An empty path is as good as none.

    Raises:
        InvalidConfig: a path is relative, a hash is no SHA-512 or stands without a path, or the
            type of the hashes is another.
    """
    assets: list[Asset] = []
    for name, field in _FIELDS.items():
        path_key, hash_key = f"{PREFIX}{name}Path", f"{PREFIX}{name}Hash"
        path, digest = annotations.get(path_key, ""), annotations.get(hash_key, "")
        if path and not path.startswith("/"):
            raise InvalidConfig(
                f"annotations.{path_key} is {path!r}, which is relative; name an absolute path"
            )
        if digest:
            _check_hash(annotations, path_key if not path else "", hash_key, digest)
        if path:
            assets.append(Asset(field, path, hash_key, digest.lower()))
    return tuple(assets)


def applied(config: HypervisorConfig, assets: tuple[Asset, ...]) -> HypervisorConfig:
    """`config` with the assets in place of its own paths."""
    return msgspec.structs.replace(config, **{asset.field: asset.path for asset in assets})


def _check_hash(annotations: Mapping[str, str], lacking: str, key: str, digest: str) -> None:
    if lacking:
        raise InvalidConfig(f"annotations.{key} has nothing to be compared with; add {lacking}")
    kind = annotations.get(HASH_TYPE_KEY) or HASH_TYPE
    if kind != HASH_TYPE:
        raise InvalidConfig(f"annotations.{HASH_TYPE_KEY} is {kind!r}; use {HASH_TYPE}")
    if not _HASH.match(digest):
        raise InvalidConfig(
            f"annotations.{key} is no SHA-512; give the 128 digits that `sha512sum` prints"
        )
