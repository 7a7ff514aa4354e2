"""Volume: a host folder that the guest can mount by its tag (behaviour sheet §3.5). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from vctui.errors import InvalidConfig

MAX_VOLUMES: Final = 16
"""Each takes a slot of the machine's PCI bus."""
RESERVED_TAG: Final = "kataShared"
"""Of the pod's own share."""


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: Volume. It is there from the machine's start; containers ask for it in their mounts."""

    mount_tag: str
    """The name that containers ask for it by."""
    host_path: str
    """Absolute path of a folder of the host."""


def parse_volumes(text: str) -> tuple[Volume, ...]:
    """Volumes from `tag:path` items with one space between them (API: Volumes.Set).

    Raises:
        InvalidConfig: the text is empty, or an item is not exactly a tag and a path.
    """
    return tuple(_parse(item) for item in text.split(" "))


def format_volumes(volumes: Iterable[Volume]) -> str:
    """What `parse_volumes` reads (API: Volumes.String)."""
    return " ".join(f"{volume.mount_tag}:{volume.host_path}" for volume in volumes)


def _parse(item: str) -> Volume:
    parts = item.split(":")
    if len(parts) != 2 or not all(parts):
        raise InvalidConfig(
            f"{item!r} is not a volume; write TAG:PATH, several with one space between them"
        )
    return Volume(mount_tag=parts[0], host_path=parts[1])
