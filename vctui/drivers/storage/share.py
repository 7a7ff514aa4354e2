"""A pod's share: the folder that QEMU exports to the guest, and what of it outlives a stop.

    <share>/<container>/rootfs       the container's root file system
    <share>/<container>/mounts/<n>   its n-th mount, where that is a bind mount
    <copies>/<container>/rootfs      private copy of a built-in root file system

For root, `share` is a folder of its own with bind mounts in it.
Others cannot mount: their share is a link to `copies`, so that the copies lie in it.
The guest can write anywhere in its share, so no link in it is ever followed.
"""

from __future__ import annotations

import errno
from pathlib import Path

from vctui.linux import files, mounts, probe, trees
from vctui.linux.problems import host_problem


def make_share(share: Path, copies: Path) -> None:
    """Make the folder that is to be exported, before the machine starts. Idempotent.

    Raises:
        HostProblem
    """
    try:
        if probe.is_root():
            files.private_dir(share)
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


def release(container_id: str, *, share: Path) -> None:
    """Take the container's mounts out of the share; its private copy stays. Idempotent.

    Raises:
        HostProblem: something stayed mounted; nothing below it was touched.
    """
    place = share / container_id
    try:
        mounts.unmount_below(place)
        if is_mountable(share):
            trees.remove_tree(place)
    except OSError as error:
        raise host_problem(error, f"take {place} out of the share") from error


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
