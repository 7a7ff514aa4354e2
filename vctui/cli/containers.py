"""`vctui container …`: the container functions of the API, but those on processes; and `cp`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vctui.cli import completion, places
from vctui.cli.call import Call, Group, with_engine
from vctui.cli.completion import container_ids, pod_ids
from vctui.cli.places import Inside, Place
from vctui.cli.pods import timeout

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime


@click.group(cls=Group)
def container() -> None:
    """Create, change and show a pod's containers, and run processes in them."""


pod_id = click.argument("pod_id", metavar="POD", shell_complete=pod_ids)
container_id = click.argument("container_id", metavar="ID", shell_complete=container_ids)


def resolve(runtime: Runtime, pod_id: str, container_id: str) -> tuple[str, str]:
    """Complete ids of what an operator typed. Raises NotFound, AmbiguousId."""
    pod = runtime.resolve_pod(pod_id)
    return pod, runtime.resolve_container(pod, container_id)


@container.command()
@pod_id
@click.argument("file", type=click.Path(path_type=Path))
@with_engine
async def create(call: Call, runtime: Runtime, pod_id: str, file: Path) -> None:
    """Add the container of a container file to a pod."""
    from vctui.engine.podfile import load_container

    config = load_container(file)
    status = await runtime.create_container(runtime.resolve_pod(pod_id), config)
    call.output.done(f"{status.id} created", status)


@container.command()
@pod_id
@container_id
@with_engine
async def start(call: Call, runtime: Runtime, pod_id: str, container_id: str) -> None:
    """Start a container of a running pod."""
    status = await runtime.start_container(*resolve(runtime, pod_id, container_id))
    call.output.done(f"{status.id} started", status)


@container.command()
@pod_id
@container_id
@timeout
@with_engine
async def stop(
    call: Call, runtime: Runtime, pod_id: str, container_id: str, timeout: float | None
) -> None:
    """Stop a container: its stop signal (SIGTERM if it names none), and SIGKILL after a time."""
    status = await runtime.stop_container(*resolve(runtime, pod_id, container_id), timeout=timeout)
    call.output.done(f"{status.id} stopped", status)


@container.command()
@pod_id
@container_id
@with_engine
async def delete(call: Call, runtime: Runtime, pod_id: str, container_id: str) -> None:
    """Remove a container that does not run from its pod."""
    status = await runtime.delete_container(*resolve(runtime, pod_id, container_id))
    call.output.done(f"{status.id} deleted", status)


@container.command()
@pod_id
@container_id
@with_engine
async def status(call: Call, runtime: Runtime, pod_id: str, container_id: str) -> None:
    """Show everything that is known of a container."""
    from datetime import UTC, datetime

    from vctui.present import details

    found = await runtime.status_container(*resolve(runtime, pod_id, container_id))
    if call.output.json:
        call.output.document(found)
    else:
        call.output.details(details.container(found, datetime.now(UTC)))


@container.command("list")
@pod_id
@with_engine
async def list_(call: Call, runtime: Runtime, pod_id: str) -> None:
    """List the containers of a pod."""
    from vctui.cli.tables import container_columns

    pod = await runtime.status_pod(runtime.resolve_pod(pod_id))
    if call.output.json:
        call.output.document(pod.containers_status)
    elif pod.containers_status:
        call.output.table(container_columns(), pod.containers_status)
    else:
        call.diagnostics.note(
            f"{pod.id} has no containers; add one with: vctui container create {pod.id} FILE"
        )


@container.command()
@click.argument("source", metavar="SRC", type=Place(), shell_complete=completion.places)
@click.argument("target", metavar="DST", type=Place(), shell_complete=completion.places)
def cp(source: Inside | str, target: Inside | str) -> None:
    """Copy one file into or out of a running container.

    One of SRC and DST is POD:CONTAINER:/path, the other a file of this host, or - for standard
    input or output. The file has 64 MiB at most.
    """
    if isinstance(source, Inside) and isinstance(target, str):
        _copy_out(source, target)
    elif isinstance(source, str) and isinstance(target, Inside):
        from vctui.engine.copying import MAX_FILE

        path = places.name_inside(target.path, source)
        if path.endswith("/") or (source == places.STREAM and path != target.path):
            raise click.UsageError("the path in the container names a folder; name the file in it")
        _copy_in(places.read(source, MAX_FILE), source, target._replace(path=path))
    else:
        raise click.UsageError("one of SRC and DST must be POD:CONTAINER:/path, and the other not")


@with_engine
async def _copy_out(call: Call, runtime: Runtime, source: Inside, target: str) -> None:
    if target == places.STREAM and call.output.json:
        raise click.UsageError("--json and a file cannot both go to standard output; name DST")
    pod, whose = resolve(runtime, source.pod_id, source.container_id)
    data = await runtime.read_file(pod, whose, source.path)
    if target == places.STREAM:
        call.output.raw(data)
        call.output.flush()
        return
    file = str(places.write(target, data, source.path))
    _done(call, file, Inside(pod, whose, source.path), file, len(data))


@with_engine
async def _copy_in(call: Call, runtime: Runtime, data: bytes, source: str, target: Inside) -> None:
    pod, whose = resolve(runtime, target.pod_id, target.container_id)
    await runtime.write_file(pod, whose, target.path, data)
    place = Inside(pod, whose, target.path)
    _done(call, ":".join(place), place, source, len(data))


def _done(call: Call, made: str, inside: Inside, file: str, size: int) -> None:
    document = {
        "pod_id": inside.pod_id,
        "id": inside.container_id,
        "path": inside.path,
        "file": file,
        "bytes": size,
    }
    call.output.done(f"{made}: {size} bytes", document)
