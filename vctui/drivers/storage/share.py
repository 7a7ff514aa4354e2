"""A pod's share: the folder that QEMU exports to the guest, and what of it outlives a stop.

    <share>/<container>@<start>/rootfs       the container's root file system
    <share>/<container>@<start>/mounts/<n>   its n-th mount, where that is a bind mount
    <copies>/<container>/rootfs              private copy of a built-in root file system

For root, `share` is a folder of its own with bind mounts in it. Each start of a container has a
place of its own: a guest on virtio-fs remembers for a second what a name stood for.
Others cannot mount: their share is a link to `copies`, so that the copies lie in it.
The guest can write anywhere in its share, so no link in it is ever followed.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from vctui.linux import files, mounts, probe, trees
from vctui.linux.problems import host_problem

_OF_START: Final = "@"
"""Not in any id."""


def make_share(share: Path, copies: Path, *, propagates: bool = False) -> None:
    """Make the folder that is to be exported, before the machine starts. Idempotent.

    Args:
        propagates: what is mounted in it later is to reach a program that serves it from mounts of
            its own, which a private or unshared file system below it would keep from it.

    Raises:
        HostProblem
    """
    try:
        if probe.is_root():
            files.private_dir(share)
            if propagates:
                mounts.unmount(share)
                mounts.mount(str(share), str(share), options=("bind", "shared"))
            return
        files.private_dir(copies)
        files.private_dir(share.parent)
        if share.is_symlink():
            share.unlink()
        elif share.is_dir():
            share.rmdir()
        share.symlink_to(copies)
    except OSError as error:
        raise host_problem(error, f"make the shared folder {share}") from error


def is_mountable(share: Path) -> bool:
    """Whether things get into the share by mounts; otherwise the copies lie in it."""
    return not share.is_symlink()


def new_place(container_id: str, *, share: Path) -> str:
    """Where in the share a container that is going to start is shown; earlier ones are released.

    Raises:
        HostProblem: as `release`.
    """
    release(container_id, share=share)
    of_start = f"{_OF_START}{os.urandom(4).hex()}" if is_mountable(share) else ""
    return f"{container_id}{of_start}"


def release(container_id: str, *, share: Path) -> None:
    """Take the container's mounts out of the share; its private copy stays. Idempotent.

    Raises:
        HostProblem: something stayed mounted; nothing below it was touched.
    """
    if not is_mountable(share):
        return
    try:
        for place in share.glob(f"{container_id}{_OF_START}*"):
            mounts.unmount_below(place)
            trees.remove_tree(place)
    except OSError as error:
        raise host_problem(error, f"take container {container_id!r} out of {share}") from error


def forget(container_id: str, *, share: Path, copies: Path) -> None:
    """Release, and delete the container's private copy. Idempotent.

    Raises:
        HostProblem: as `release`.
    """
    release(container_id, share=share)
    try:
        trees.remove_tree(copies / container_id)
        copies.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:  # other containers have copies too
            raise host_problem(error, f"remove {copies / container_id}") from error
