"""Images: what the local store has, and what a container of one is."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vctui.engine import paths
from vctui.engine.context import Context, Progress
from vctui.errors import InvalidConfig, VctuiError
from vctui.images import DRAFT
from vctui.model import signals
from vctui.model.container import ContainerConfig
from vctui.model.image import Image, image_name, with_defaults

if TYPE_CHECKING:
    from vctui.images.store import ImageStore

log = logging.getLogger(__name__)


def store(ctx: Context) -> ImageStore:
    from vctui.images.store import ImageStore
    from vctui.images.stream import Limits

    limits = Limits(max_bytes=ctx.settings.images.max_bytes)
    return ImageStore(paths.images_root(ctx.settings), limits)


async def import_(ctx: Context, path: Path, name: str, progress: Progress) -> tuple[Image, ...]:
    return await store(ctx).import_(
        path, name=name, in_use=lambda one: _user(ctx, one), progress=progress
    )


async def remove(ctx: Context, name: str) -> Image:
    return await store(ctx).remove(name, in_use=lambda one: _user(ctx, one))


@asynccontextmanager
async def settled(
    ctx: Context, containers: tuple[ContainerConfig, ...]
) -> AsyncIterator[tuple[ContainerConfig, ...]]:
    """The containers with what their images say; the images stay while the block runs.

    Raises:
        NotFound: there is no such image.
        InvalidConfig: neither the image nor the container says what to run.
    """
    if not any(one.image for one in containers):
        yield containers
        return
    images = store(ctx)
    async with images.held():
        yield tuple(_settled(one, images) if one.image else one for one in containers)


def lower(ctx: Context, config: ContainerConfig) -> Path | None:
    """The unpacked layers of the container's image; None where it has none. Raises NotFound."""
    if not config.image:
        return None
    images = store(ctx)
    return images.rootfs(images.get(config.image))


async def sweep(ctx: Context) -> None:
    """Remove what killed imports left. A damaged store is said where it is used."""
    if not any(paths.images_root(ctx.settings).glob(f"{DRAFT}*")):
        return
    try:
        await store(ctx).sweep()
    except VctuiError as error:
        log.warning("what an import left could not be removed: %s", error)


def _settled(config: ContainerConfig, images: ImageStore) -> ContainerConfig:
    image = images.get(config.image)
    cmd = with_defaults(config.cmd, image.defaults, config.entrypoint)
    if not cmd.args or not cmd.args[0]:
        raise InvalidConfig(
            f"image {image.name!r} does not say what to run; give container {config.id!r} cmd.args"
        )
    annotations = config.annotations
    if image.defaults.stop_signal:
        annotations = {signals.STOP_SIGNAL: image.defaults.stop_signal, **annotations}
    return msgspec.structs.replace(
        config, image=image.name, cmd=cmd, entrypoint=None, annotations=annotations
    )


def _user(ctx: Context, name: str) -> str:
    """The container that uses an image, in words; "" for none."""
    for record in ctx.store.pods():
        for one in record.containers:
            if one.config.image and image_name(one.config.image) == name:
                return f"container {one.id!r} of pod {record.id!r}"
    return ""
