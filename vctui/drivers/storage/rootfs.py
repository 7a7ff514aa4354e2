"""A container's root file system: a host folder as it is, an image with the container's own
changes over it, or a private copy of a built-in one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from vctui.drivers.storage import overlay
from vctui.drivers.storage import share as shares
from vctui.errors import FileProblem, GuestNotBuilt, PermissionProblem
from vctui.linux import files, mounts, probe, trees
from vctui.linux.problems import host_problem
from vctui.model.container import ContainerConfig


def check_rootfs(
    config: ContainerConfig, templates: Mapping[str, Path], image: Path | None = None
) -> Path:
    """The folder that the container's root file system comes from.

    Args:
        templates: built-in root file systems by name.
        image: the unpacked layers of the container's image, where it has one.

    Raises:
        FileProblem: it is missing or is no folder.
        GuestNotBuilt: it is a built-in one that comes with the guest.
        PermissionProblem: showing a host folder to a guest needs root.
    """
    if image is not None:
        if not image.is_dir():
            raise FileProblem(
                f"the files of image {config.image!r} of container {config.id!r} are gone; "
                "import it again"
            )
        return image
    if template := templates.get(config.rootfs):
        if not template.is_dir():
            raise GuestNotBuilt(
                f"the root file system {config.rootfs!r} of container {config.id!r} comes with "
                "the guest, which is not built; run `vctui guest build`"
            )
        return template
    source = Path(config.rootfs)
    built_in = ", ".join(sorted(templates)) or "none"
    if not source.exists():
        raise FileProblem(
            f"the root file system {config.rootfs!r} of container {config.id!r} does not exist; "
            f"give the path of a folder, or a built-in name ({built_in})"
        )
    if not source.is_dir():
        raise FileProblem(
            f"the root file system {config.rootfs!r} of container {config.id!r} is no folder; "
            f"give the path of a folder, or a built-in name ({built_in})"
        )
    if not probe.is_root():
        raise PermissionProblem(
            f"showing the host folder {config.rootfs!r} to container {config.id!r} needs root; "
            f"run vctui as root, or use a built-in root file system ({built_in})"
        )
    return source


async def prepare_rootfs(
    config: ContainerConfig,
    *,
    share: Path,
    place: str,
    copies: Path,
    templates: Mapping[str, Path],
    image: Path | None = None,
) -> str:
    """Put the root file system into the pod's share; gives its path relative to the share.

    A private copy that is there already is used again.

    Args:
        place: the container's, new (`share.new_place`).

    Raises:
        FileProblem, GuestNotBuilt, PermissionProblem: see `check_rootfs`.
        DiskFull, HostProblem: nothing is left mounted.
    """
    source = check_rootfs(config, templates, image)
    shown = f"{place}/rootfs"
    try:
        if image is not None and await overlay.show(
            image, share=share, place=shown, copies=copies / config.id
        ):
            return shown
        if image is not None or config.rootfs in templates:
            own = copies / config.id / "rootfs"
            await _copy_once(source, own)
            source = own
        if shares.is_mountable(share):
            mounts.bind(source, share / shown, root=share, options=("nosuid", "nodev"))
    except OSError as error:
        raise host_problem(error, f"show {source} to container {config.id!r}") from error
    return shown


async def copy_ahead(
    config: ContainerConfig, *, copies: Path, templates: Mapping[str, Path]
) -> None:
    """Make the private copy that `prepare_rootfs` will use, where it will need one. Idempotent.

    Raises:
        DiskFull, HostProblem: as `prepare_rootfs`.
    """
    if config.image or config.rootfs not in templates:
        return
    try:
        await _copy_once(templates[config.rootfs], copies / config.id / "rootfs")
    except OSError as error:
        raise host_problem(error, f"copy files for container {config.id!r}") from error


async def _copy_once(template: Path, own: Path) -> None:
    if await asyncio.to_thread(own.is_dir):
        return
    await asyncio.to_thread(trees.remove_tree, own.parent)  # what a killed copy left
    files.private_dir(own.parent)
    await trees.copy_tree(template, own)
