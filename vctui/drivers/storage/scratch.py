"""Empty folders that containers of one pod share, and that go with the pod.

<copies>/.volumes/<name>        the folder; no container has an id that begins with a dot
<share>/<container>@<start>/empty/<n>   where the container's n-th mount shows it, for root
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vctui.drivers.agents.base import SharedMount
from vctui.drivers.storage import share as shares
from vctui.linux import files, mounts
from vctui.linux.problems import host_problem
from vctui.model.container import ContainerConfig

EMPTY_DIR: Final = "empty-dir"
_FOLDER: Final = ".volumes"
_MODE: Final = 0o777
"""Containers of several users write there, as Kubernetes has it."""


def prepare_empty_dirs(
    config: ContainerConfig, *, share: Path, place: str, copies: Path
) -> tuple[SharedMount, ...]:
    """Make the folders that the container mounts, where they are missing, and show them.

    Args:
        place: the container's in the share (`share.new_place`).

    Raises:
        HostProblem: nothing of the container is left mounted.
    """
    shared = []
    for number, mount in enumerate(config.mounts):
        if mount.type != EMPTY_DIR:
            continue
        folder = copies / _FOLDER / mount.source
        shown = f"{_FOLDER}/{mount.source}"
        try:
            if not folder.is_dir():
                files.private_dir(folder)
                folder.chmod(_MODE)
            if shares.is_mountable(share):
                shown = f"{place}/empty/{number}"
                mounts.bind(folder, share / shown, root=share, options=("nosuid", "nodev"))
        except OSError as error:
            shares.release(config.id, share=share)
            raise host_problem(error, f"make the folder {folder}") from error
        shared.append(SharedMount(mount=mount, shared=shown))
    return tuple(shared)
