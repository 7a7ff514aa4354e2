"""`vctui guest template …`: saved guests that pods begin as."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Group, with_engine

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime
    from vctui.model.template import Template
    from vctui.present.columns import Column


@click.group(cls=Group)
def template() -> None:
    """Templates: guests that are saved when they are ready, so that pods need not boot.

    The first pod of a size builds the template of it; nothing has to be done by hand. With
    `[template] pool` in config.toml, so many guests wait READY for a pod to take them.
    """


@template.command()
@click.option("--vcpus", type=click.IntRange(min=1), metavar="N", help="Virtual CPUs.")
@click.option("--memory", type=click.IntRange(min=1), metavar="MIB", help="MiB.")
@with_engine
async def build(call: Call, runtime: Runtime, vcpus: int | None, memory: int | None) -> None:
    """Build the template of pods of a size; what is there and fits is kept."""
    with call.diagnostics.progress() as progress:
        built = await runtime.build_template(
            vcpus=vcpus or 0, memory=memory or 0, progress=progress
        )
    call.output.done(f"template {built.key} is built", built)


@template.command("list")
@with_engine
async def list_(call: Call, runtime: Runtime) -> None:
    """List the templates that pods can begin as."""
    found = await runtime.list_templates()
    if call.output.json:
        call.output.document(found)
    elif found:
        call.output.table(_columns(), found)
    else:
        call.diagnostics.note("no templates; the first pod that runs builds one")


@template.command()
@click.argument("key")
@with_engine
async def remove(call: Call, runtime: Runtime, key: str) -> None:
    """Remove a template; pods that began as it go on."""
    from vctui.model import ids

    known = [one.key for one in await runtime.list_templates()]
    removed = await runtime.remove_template(ids.resolve("template", key, known))
    call.output.done(f"template {removed.key} is removed", removed)


def _columns() -> tuple[Column[Template], ...]:
    from datetime import datetime

    from vctui.present.columns import Cell, Column
    from vctui.present.humanize import age, moment

    def column(title: str, text: Callable[[Template, datetime], str]) -> Column[Template]:
        return Column(
            id=title.lower(),
            title=title,
            cell=lambda one, now: Cell(text(one, now)),
            sort_key=lambda one: one.key,
            width=8,
        )

    return (
        column("KEY", lambda one, _: one.key),
        column("MACHINE", lambda one, _: one.machine_type),
        column("VCPUS", lambda one, _: str(one.vcpus)),
        column("MEMORY", lambda one, _: f"{one.memory} MiB"),
        column("BUILT", lambda one, _: moment(one.created)),
        column("READY", lambda one, _: str(one.ready)),
        column("USED", lambda one, now: f"{age(one.used, now)} ago"),
    )
