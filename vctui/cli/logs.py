"""`vctui logs` and `vctui events`: what happened, and what happens."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from vctui.cli.call import Call, Command, with_engine
from vctui.cli.completion import container_ids, pod_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vctui.engine.runtime import Runtime
    from vctui.model.events import Event
    from vctui.model.logs import LogLine
    from vctui.present.columns import Column

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z")
_MAX_LINE: Final = 64 * 1024
_ALL: Final = 1_000_000
_BACKLOG: Final = 10
"""Events shown before those that are followed."""


class Since(click.ParamType[datetime]):
    """`90s`, `10m`, `1h30m`, `2d` ago, or an RFC 3339 time, which is local without an offset."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if text and (match := _DURATION.match(text)):
            days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
            try:
                return datetime.now(UTC) - timedelta(
                    days=days, hours=hours, minutes=minutes, seconds=seconds
                )
            except OverflowError:
                self.fail(f"{value!r} is before all time", param, ctx)
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time; use 90s, 10m, 1h30m, 2d, or 2026-01-31T12:00:00Z",
                param,
                ctx,
            )


@click.command(cls=Command)
@click.argument("pod_id", metavar="POD", shell_complete=pod_ids)
@click.argument("container_id", metavar="[ID]", default="", shell_complete=container_ids)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--since", type=Since(), metavar="TIME", help="10m, 1h30m, or an RFC 3339 time.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines.")
@click.option(
    "--source",
    type=click.Choice(["console", "agent", "container"]),
    help="Which log.  [default: container]",
)
@click.option("-t", "--timestamps", is_flag=True, help="Begin lines with their time.")
@click.option("--raw", is_flag=True, help="Keep terminal control sequences.")
@with_engine
async def logs(
    call: Call,
    runtime: Runtime,
    pod_id: str,
    container_id: str,
    follow: bool,
    since: datetime | None,
    tail: int | None,
    source: str | None,
    timestamps: bool,
    raw: bool,
) -> None:
    """Show what a container wrote, or the guest's serial console or its agent's log.

    ID may be left out where the pod has one container.
    """
    from vctui.model.logs import LogSource
    from vctui.present.humanize import plain

    pod = runtime.resolve_pod(pod_id)
    chosen = LogSource(source or "container")
    if chosen is LogSource.CONTAINER:
        container_id = await _container(runtime, pod, container_id)
    elif container_id:
        raise click.UsageError(f"the {chosen} log is the pod's; leave the container out")

    def show(line: LogLine) -> None:
        if raw:
            call.output.raw(line.text + b"\n")
            return
        text = plain(line.text.decode(errors="replace").expandtabs(), _MAX_LINE)
        when = (
            f"{line.time.isoformat(timespec='milliseconds')} " if timestamps and line.time else ""
        )
        call.output.text(f"{when}{text}")

    lines = runtime.logs(pod, chosen, container_id, follow=follow, since=since, tail=tail)
    await call.output.stream(lines, show, _document, following=follow)


@click.command(cls=Command)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--pod", "pod_id", default="", shell_complete=pod_ids, help="Of one pod only.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="The last N.")
@with_engine
async def events(call: Call, runtime: Runtime, follow: bool, pod_id: str, tail: int | None) -> None:
    """Show the event log of all pods, also of those that are deleted."""
    from vctui.errors import NotFound
    from vctui.present.humanize import moment, plain

    if pod_id:
        with contextlib.suppress(NotFound):  # it may be deleted: then it is taken as typed
            pod_id = runtime.resolve_pod(pod_id)
    newest = max((event.seq for event in runtime.recent_events(limit=1)), default=0)
    limit = tail if tail is not None else _BACKLOG if follow else _ALL
    found = runtime.recent_events(limit=limit, pod_id=pod_id) if limit else ()
    past = [event for event in found if event.seq <= newest]
    if not follow:
        if call.output.json:
            call.output.document(past)
        elif past:
            call.output.table(_event_columns(), past)
        else:
            call.diagnostics.note("no events")
        return

    def show(event: Event) -> None:
        about = "/".join(filter(None, (event.pod_id, event.container_id)))
        message = plain(event.message, _MAX_LINE)
        call.output.text(f"{moment(event.time)}  {event.kind:<17}  {about}  {message}")

    async def coming() -> AsyncIterator[Event]:
        for event in past:
            yield event
        async for event in runtime.events(after=newest, follow=True):
            if pod_id in {"", event.pod_id}:
                yield event

    await call.output.stream(coming(), show, lambda event: event, following=True)


def _event_columns() -> tuple[Column[Event], ...]:
    """The console's columns, with the date."""
    from vctui.present.columns import EVENTS, Cell
    from vctui.present.humanize import moment

    return tuple(
        dataclasses.replace(column, cell=lambda event, now: Cell(moment(event.time), "muted"))
        if column.id == "time"
        else column
        for column in EVENTS
    )


async def _container(runtime: Runtime, pod_id: str, prefix: str) -> str:
    """The container that is meant. Raises NotFound, AmbiguousId."""
    from vctui.errors import AmbiguousId, NotFound

    if prefix:
        return runtime.resolve_container(pod_id, prefix)
    known = [one.id for one in (await runtime.status_pod(pod_id)).containers_status]
    if not known:
        raise NotFound(
            f"pod {pod_id!r} has no containers; choose --source console or --source agent"
        )
    if len(known) > 1:
        raise AmbiguousId(
            f"pod {pod_id!r} has {len(known)} containers ({', '.join(known[:4])}); name one"
        )
    return known[0]


def _document(line: LogLine) -> dict[str, object]:
    """A line as JSON: bytes that are not UTF-8 are replaced."""
    return {
        "time": line.time,
        "stream": line.stream,
        "text": line.text.decode(errors="replace"),
        "partial": line.partial,
    }
