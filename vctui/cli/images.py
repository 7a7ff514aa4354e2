"""`vctui image …`: the local store of container images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Group, with_engine

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime


@click.group(cls=Group)
def image() -> None:
    """Import, list and remove the images that containers may name."""


@image.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME:TAG", default="", help="Name the image so.")
@with_engine
async def import_(call: Call, runtime: Runtime, file: Path, name: str) -> None:
    """Take up the images of a docker-archive or oci-archive tar, or of an OCI layout folder."""
    with call.diagnostics.progress() as progress:
        images = await runtime.import_image(file, name=name, progress=progress)
    if call.output.json:
        call.output.document(images)
        return
    for one in images:
        call.output.text(one.name)


@image.command("list")
@with_engine
async def list_(call: Call, runtime: Runtime) -> None:
    """List the images of this host."""
    images = await runtime.list_images()
    if call.output.json:
        call.output.document(images)
    elif images:
        from vctui.present.columns import IMAGES

        call.output.table(IMAGES, images)
    else:
        call.diagnostics.note("no images; import one with: vctui image import FILE")


@image.command()
@click.argument("name", metavar="NAME:TAG")
@with_engine
async def remove(call: Call, runtime: Runtime, name: str) -> None:
    """Remove an image that no container uses."""
    removed = await runtime.remove_image(name)
    call.output.done(f"{removed.name} removed", removed)
