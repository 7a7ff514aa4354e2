"""`vctui pod …`: the pod functions of the API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Group, with_engine
from vctui.cli.completion import pod_ids
from vctui.cli.tracing import traced

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime
    from vctui.model.pod import PodConfig, PodStatus


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
@click.argument("network", default="")
@with_engine
async def connect(call: Call, runtime: Runtime, pod_id: str, network: str) -> None:
    """Give a running pod another interface.

    With CNI the pod joins NETWORK, or the host's default. With CNM it gets what somebody has put
    into its network namespace meanwhile.
    """
    status = await runtime.connect_pod(runtime.resolve_pod(pod_id), network)
    call.output.done(f"{status.id} connected", status)


@pod.command()
@pod_id
@click.argument("interface")
@with_engine
async def disconnect(call: Call, runtime: Runtime, pod_id: str, interface: str) -> None:
    """Take INTERFACE away from a running pod, and leave its network."""
    status = await runtime.disconnect_pod(runtime.resolve_pod(pod_id), interface)
    call.output.done(f"{status.id} disconnected from {interface}", status)


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
    from vctui.cli.tables import pod_columns

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
@pod_id
@click.option("-f", "--follow", is_flag=True, help="Go on, with the traffic of each second.")
@click.option("--check", is_flag=True, help="First ask the CNI plugins whether all is in order.")
@with_engine
async def network(call: Call, runtime: Runtime, pod_id: str, follow: bool, check: bool) -> None:
    """Show a pod's interfaces, addresses, routes and traffic."""
    from vctui.present import details, traffic
    from vctui.present.columns import TRAFFIC

    pod_id = runtime.resolve_pod(pod_id)
    if check:
        await runtime.check_network(pod_id)
    if follow:
        await _follow_traffic(call, runtime, pod_id)
        return
    status = await runtime.status_pod(pod_id)
    counted = runtime.traffic(pod_id)
    if call.output.json:
        call.output.document({"network": status.network, "traffic": counted})
    elif status.network is None:
        call.diagnostics.note(traffic.no_network(status))
    else:
        call.output.details(details.pod_network(status.network))
        if counted:
            call.output.text("")
            call.output.table(TRAFFIC, counted)


async def _follow_traffic(call: Call, runtime: Runtime, pod_id: str) -> None:
    """A line for each interface and second, until the pod ends."""
    import asyncio
    from time import monotonic

    from vctui.present import traffic

    meter = traffic.Meter()
    while True:
        status = await runtime.status_pod(pod_id)
        if status.network is None:
            call.diagnostics.note(traffic.no_network(status))
            return
        counted = runtime.traffic(pod_id)
        meter.sample(monotonic(), counted)
        for one in counted:
            if call.output.json:
                call.output.line(one)
            elif line := traffic.line(one.interface, meter.rates(one.interface)):
                call.output.text(line)
        call.output.flush()
        await asyncio.sleep(1.0)


@pod.command("port-forward")
@pod_id
@click.argument("pairs", metavar="HOST:POD...", nargs=-1, required=True)
@click.option(
    "--address",
    "addresses",
    metavar="IP",
    multiple=True,
    help="Listen on this address of the host, instead of the loopback ones.",
)
@with_engine
async def port_forward(
    call: Call, runtime: Runtime, pod_id: str, pairs: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    """Lead ports of the host to ports of a pod, until Ctrl-C or the pod's end.

    8080:80 leads port 8080 of the host to port 80 of the pod; 0:80 takes a free port of the host,
    and 80 is short for 80:80. Only users of this host get there, unless --address says otherwise.
    """
    from vctui.model.ports import parse_pair

    wanted = [parse_pair(one) for one in pairs]
    pod_id = runtime.resolve_pod(pod_id)
    tell = call.diagnostics.warning
    async with runtime.port_forward(pod_id, wanted, addresses=addresses, tell=tell) as forward:
        for one in forward.bound:
            if call.output.json:
                call.output.line(one)
            else:
                call.output.text(f"{one.where} -> {pod_id}:{one.pod_port}")
        call.output.flush()
        await forward.until_pod_ends()


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

    from vctui.cli.tables import container_columns
    from vctui.present import details

    call.output.details(details.pod(status, datetime.now(UTC)))
    if status.containers_status:
        call.output.text("")
        call.output.table(container_columns(), status.containers_status)


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
