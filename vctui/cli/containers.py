"""`vctui container …`: the container functions of the API, but those on processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Group, with_engine
from vctui.cli.completion import container_ids, pod_ids
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
