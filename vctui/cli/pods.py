"""`vctui pod …`: the pod functions of the API."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Group, with_engine
from vctui.cli.completion import pod_ids
from vctui.cli.tracing import traced

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime
    from vctui.model.pod import PodConfig, PodStatus
    from vctui.present.columns import Column


@click.group(cls=Group)
def pod() -> None:
    """Create, run, change and show pods. An ID may be shortened to a unique prefix."""


pod_file = click.argument("file", type=click.Path(path_type=Path), required=False)
bundle_folder = click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="An OCI bundle instead of FILE.",
)
bundle_id = click.option("--id", "given_id", metavar="ID", default="", help="For the bundle's pod.")
pod_id = click.argument("pod_id", metavar="ID", shell_complete=pod_ids)
timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="From a container's stop signal to SIGKILL.",
)


@pod.command()
@pod_file
@bundle_folder
@bundle_id
@with_engine
async def create(
    call: Call, runtime: Runtime, file: Path | None, bundle: Path | None, given_id: str
) -> None:
    """Record and prepare the pod of a pod file; boot nothing.

    FILE may be a Kubernetes manifest of a Pod, and - for stdin.
    """
    status = await runtime.create_pod(load(call, file, bundle, given_id))
    call.output.done(f"{status.id} created", status)


@pod.command()
@pod_file
@bundle_folder
@bundle_id
@traced
@with_engine
async def run(
    call: Call, runtime: Runtime, file: Path | None, bundle: Path | None, given_id: str
) -> None:
    """Create and start the pod of a pod file; print its ID.

    FILE may be a Kubernetes manifest of a Pod, and - for stdin.
    """
    config = load(call, file, bundle, given_id)
    with call.diagnostics.progress() as progress:
        status = await runtime.run_pod(config, progress=progress)
    _started(call, runtime, status, status.id)


@pod.command()
@pod_id
@traced
@with_engine
async def start(call: Call, runtime: Runtime, pod_id: str) -> None:
    """Boot the pod's virtual machine and start its containers."""
    with call.diagnostics.progress() as progress:
        status = await runtime.start_pod(runtime.resolve_pod(pod_id), progress=progress)
    _started(call, runtime, status, f"{status.id} started")


@pod.command()
@pod_id
@timeout
@with_engine
async def stop(call: Call, runtime: Runtime, pod_id: str, timeout: float | None) -> None:
    """Stop the pod's containers, then its virtual machine."""
    with call.diagnostics.progress() as progress:
        status = await runtime.stop_pod(
            runtime.resolve_pod(pod_id), timeout=timeout, progress=progress
        )
    call.output.done(f"{status.id} stopped", status)


@pod.command()
@pod_id
@traced
@with_engine
async def restart(call: Call, runtime: Runtime, pod_id: str) -> None:
    """Stop the pod where it runs, and start it."""
    with call.diagnostics.progress() as progress:
        status = await runtime.restart_pod(runtime.resolve_pod(pod_id), progress=progress)
    _started(call, runtime, status, f"{status.id} restarted")


@pod.command()
@pod_id
@with_engine
async def pause(call: Call, runtime: Runtime, pod_id: str) -> None:
    """Freeze the pod's virtual machine."""
    status = await runtime.pause_pod(runtime.resolve_pod(pod_id))
    call.output.done(f"{status.id} paused", status)


@pod.command()
@pod_id
@with_engine
async def resume(call: Call, runtime: Runtime, pod_id: str) -> None:
    """Let a paused pod go on."""
    status = await runtime.resume_pod(runtime.resolve_pod(pod_id))
    call.output.done(f"{status.id} resumed", status)


@pod.command()
@pod_id
@with_engine
async def delete(call: Call, runtime: Runtime, pod_id: str) -> None:
    """Stop what runs and remove everything of the pod."""
    with call.diagnostics.progress() as progress:
        status = await runtime.delete_pod(runtime.resolve_pod(pod_id), progress=progress)
    call.output.done(f"{status.id} deleted", status)


@pod.command("list")
@with_engine
async def list_(call: Call, runtime: Runtime) -> None:
    """List the pods of this host."""
    pods = await runtime.list_pods()
    if call.output.json:
        call.output.document(pods)
    elif pods:
        call.output.table(pod_columns(), pods)
    else:
        call.diagnostics.note("no pods; run one with: vctui pod run FILE")


@pod.command()
@pod_id
@with_engine
async def status(call: Call, runtime: Runtime, pod_id: str) -> None:
    """Show everything that is known of a pod."""
    found = await runtime.status_pod(runtime.resolve_pod(pod_id))
    if call.output.json:
        call.output.document(found)
        return
    show_pod(call, found)


@pod.command()
@click.pass_obj
def schema(call: Call) -> None:
    """Print the JSON schema of pod files, for editors and other programs."""
    from vctui.engine.podschema import pod_schema

    call.output.document(pod_schema())


def _started(call: Call, runtime: Runtime, status: PodStatus, sentence: str) -> None:
    """Tell of a pod that runs now; with --trace also where the time went, in JSON as `trace`."""
    from vctui.telemetry import trace

    if trace.current() is None:
        call.output.done(sentence, status)
        return
    taken = runtime.timeline(status.id)
    if call.output.json:
        import msgspec

        call.output.document({**msgspec.to_builtins(status), "trace": taken})
        return
    call.output.text(sentence)
    if taken is not None:
        from vctui.present import timeline

        call.output.table(timeline.COLUMNS, timeline.rows(taken))


def show_pod(call: Call, status: PodStatus) -> None:
    from datetime import UTC, datetime

    from vctui.cli.containers import container_columns
    from vctui.present import details

    call.output.details(details.pod(status, datetime.now(UTC)))
    if status.containers_status:
        call.output.text("")
        call.output.table(container_columns(), status.containers_status)


def pod_columns() -> tuple[Column[PodStatus], ...]:
    """The console's columns, with the state as one word for awk, and the reason."""
    from vctui.present import columns, condition
    from vctui.present.humanize import plain

    def word(status: PodStatus, _now: object) -> columns.Cell:
        it = condition.of_pod(status)
        return columns.Cell(it.word, it.role)

    reason: Column[PodStatus] = columns.Column(
        id="reason",
        title="REASON",
        cell=lambda status, now: columns.Cell(plain(status.reason)),
        sort_key=lambda status: status.reason,
        width=10,
        most=-1,
        priority=6,
    )
    shown = (
        dataclasses.replace(column, cell=word) if column.id == "state" else column
        for column in columns.PODS
    )
    return (*shown, reason)


def load(call: Call, file: Path | None, bundle: Path | None, given_id: str) -> PodConfig:
    """The pod of a pod file or of an OCI bundle; what has no effect is said."""
    from vctui.engine import podfile

    context = click.get_current_context()
    if bundle is not None:
        if file is not None:
            raise click.UsageError("name a pod file or a bundle, not both", context)
        return podfile.load_bundle(
            bundle, call.settings, pod_id=given_id, warn=call.diagnostics.warning
        )
    if file is None:
        raise click.UsageError("name a pod file, or a bundle with --bundle", context)
    if given_id:
        raise click.UsageError("--id goes with --bundle only", context)
    return podfile.load_pod(file, call.settings, warn=call.diagnostics.warning)
