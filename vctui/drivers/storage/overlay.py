"""Copy-on-write: an image's files, with the container's own changes over them (overlayfs).

    <copies>/<container>/upper     what the container changed
    <copies>/<container>/work      overlayfs's own
    <run>/overlay-<container>      where it is mounted for a moment, out of the guest's reach

Where overlayfs cannot be used (not root, a kernel without it, an odd file system) the container
gets a copy, which shares blocks with the image where the disk can.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path
from typing import Final

from vctui.drivers.storage import share as shares
from vctui.linux import files, mounts, trees

log = logging.getLogger(__name__)

_ATTRIBUTES: Final = ("nosuid", "nodev")


async def show(image: Path, *, share: Path, place: str, copies: Path) -> bool:
    """Mount `image` with the changes in `copies` at `place` in the share.

    False where it is not possible here, or where the container has a whole copy already.

    Raises:
        OSError: it was possible before, as there are changes, and is not now.
    """
    if not shares.is_mountable(share) or (copies / "rootfs").is_dir():
        return False
    upper, work = copies / "upper", copies / "work"
    fresh = not upper.is_dir()
    staging = share.parent / f"overlay-{copies.name}"
    if fresh:
        await asyncio.to_thread(trees.remove_tree, copies)  # what a killed copy left
    for folder in (staging, work):
        files.private_dir(folder)
    if fresh:
        await asyncio.to_thread(_make_upper, upper, image)
    options = ",".join(
        f"{name}={_escaped(path)}"
        for name, path in (("lowerdir", image), ("upperdir", upper), ("workdir", work))
    )
    mounts.unmount(staging)  # what a killed start left
    try:
        mounts.mount("overlay", str(staging), "overlay", (*_ATTRIBUTES, options))
    except OSError as error:
        staging.rmdir()
        if not fresh:
            raise
        log.info("no overlay for %s, it is copied: %s", copies, error)
        await asyncio.to_thread(trees.remove_tree, copies)
        return False
    try:
        mounts.bind(staging, share / place, root=share, options=_ATTRIBUTES)
    finally:
        mounts.unmount(staging)
        staging.rmdir()
    return True


def _make_upper(upper: Path, image: Path) -> None:
    """The container's root folder has the owner and mode of the image's."""
    draft = files.draft_path(upper)
    draft.mkdir()
    of_image = image.stat()
    os.chown(draft, of_image.st_uid, of_image.st_gid)
    draft.chmod(stat.S_IMODE(of_image.st_mode))
    draft.rename(upper)


def _escaped(path: Path) -> str:
    """overlayfs takes a backslash before what separates its options."""
    text = str(path)
    for character in "\\,:":
        text = text.replace(character, f"\\{character}")
    return text
