"""A container's bind mounts: host folders and files, shown in the pod's share."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from vctui.drivers.agents.base import SharedMount
from vctui.drivers.storage import share as shares
from vctui.errors import FileProblem, InvalidConfig, PermissionProblem
from vctui.linux import mounts, probe
from vctui.linux.problems import host_problem
from vctui.model.container import ContainerConfig, Mount

_TYPES: Final = ("bind", "volume", "tmpfs", "empty-dir", "memory-dir")


def check_mounts(config: ContainerConfig) -> None:
    """Look for what can be wrong before anything is made.

    Raises:
        InvalidConfig: a type that is not supported, or a destination that is not absolute.
        FileProblem: a source is missing, or is neither folder nor regular file.
        PermissionProblem: bind mounts need root.
    """
    for number, mount in enumerate(config.mounts):
        where = f"mounts[{number}] of container {config.id!r}"
        if mount.type not in _TYPES:
            raise InvalidConfig(
                f"{where} has the type {mount.type!r}, which is not supported; "
                f"use one of {', '.join(_TYPES)}"
            )
        if not mount.destination.startswith("/") or ".." in mount.destination.split("/"):
            raise InvalidConfig(
                f"{where} has the destination {mount.destination!r}; "
                "give an absolute path without '..'"
            )
        if mount.type == "bind":
            _check_source(mount, where)


def prepare_mounts(config: ContainerConfig, *, share: Path, place: str) -> tuple[SharedMount, ...]:
    """Show the sources of the bind mounts in the share, read-only where they are to be so.

    Args:
        place: the container's (`share.new_place`).

    Raises:
        InvalidConfig, FileProblem, PermissionProblem: see `check_mounts`.
        HostProblem: nothing of the container is left mounted.
    """
    check_mounts(config)
    shared = []
    for number, mount in enumerate(config.mounts):
        if mount.type != "bind":
            continue
        shown = f"{place}/mounts/{number}"
        try:
            mounts.bind(
                mount.source,
                share / shown,
                root=share,
                read_only=mount.read_only or "ro" in mount.options,
                recursive="rbind" in mount.options,
                options=("nosuid", "nodev"),
            )
        except OSError as error:
            shares.release(config.id, share=share)
            doing = f"show {mount.source} to container {config.id!r}"
            raise host_problem(error, doing) from error
        shared.append(SharedMount(mount=mount, shared=shown))
    return tuple(shared)


def _check_source(mount: Mount, where: str) -> None:
    try:
        mode = Path(mount.source).stat().st_mode if mount.source.startswith("/") else 0
    except OSError as error:
        raise FileProblem(
            f"the source {mount.source!r} of {where} cannot be used: {error.strerror}; "
            "give a folder or file of the host"
        ) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise FileProblem(
            f"the source {mount.source!r} of {where} is no absolute path of a folder or "
            "regular file; give one"
        )
    if not probe.is_root():
        raise PermissionProblem(
            f"showing {mount.source!r} for {where} needs root; run vctui as root, "
            "or leave the mount out"
        )
