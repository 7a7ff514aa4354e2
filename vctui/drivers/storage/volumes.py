"""A pod's volumes: folders of the host that QEMU exports by their tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vctui.drivers.hypervisors.base import Share
from vctui.errors import FileProblem
from vctui.model.volume import Volume


def check_volumes(volumes: Sequence[Volume]) -> tuple[Share, ...]:
    """The shares that the machine is to have for the volumes.

    Raises:
        FileProblem: one is missing or is no folder.
    """
    for volume in volumes:
        if not Path(volume.host_path).is_dir():
            raise FileProblem(
                f"the volume {volume.mount_tag!r} has {volume.host_path!r}, which is no folder of "
                "this host; name one, or make it"
            )
    return tuple(Share(tag=volume.mount_tag, path=Path(volume.host_path)) for volume in volumes)
