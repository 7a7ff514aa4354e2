"""`vctui guest …`: the image that pods boot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from vctui.cli import own_guests
from vctui.cli.call import Call, Group
from vctui.cli.templates import template

if TYPE_CHECKING:
    from vctui.image.manifest import Manifest
    from vctui.present.columns import Column


@click.group(cls=Group)
def guest() -> None:
    """Build the guest from Debian packages, name guests of your own, and list them."""


@guest.command()
@click.option("--force", is_flag=True, help="Build again what is there.")
@click.option(
    "--flavour",
    type=click.Choice(["ttrpc", "grpc"]),
    default="ttrpc",
    show_default=True,
    help="With grpc, also add the guest `grpc`, whose agent speaks as that of Kata 1.x does.",
)
@click.pass_obj
def build(call: Call, force: bool, flavour: str) -> None:
    """Build the guest; what is there and up to date is kept."""
    from vctui.model.kinds import AgentProtocol, parse

    protocol = parse(AgentProtocol, flavour)
    manifest = build_guest(call, force=force)
    if protocol is not AgentProtocol.TTRPC:
        own_guests.add_flavour(call, protocol)
    call.output.done(f"guest {manifest.key} is built", manifest)


@guest.command("list")
@click.option("--added", is_flag=True, help="List those that were added with `guest add`.")
@click.pass_obj
def list_(call: Call, added: bool) -> None:
    """List the guests that were built."""
    from vctui.image.current import list_guests

    if added:
        own_guests.show(call)
        return
    found = list_guests(call.settings)
    if call.output.json:
        call.output.document(found)
    elif found:
        call.output.table(_columns(), found)
    else:
        call.diagnostics.note("no guest is built; build one with: vctui guest build")


guest.add_command(template)
for command in (own_guests.add, own_guests.remove, own_guests.check):
    guest.add_command(command)


def build_guest(call: Call, *, force: bool = False) -> Manifest:
    """Build with progress on standard error. Raises GuestBuildFailed."""
    from vctui.cli import interrupts
    from vctui.image import builder

    built: list[Manifest] = []
    with call.diagnostics.progress(lines=True) as show:

        def progress(step: builder.Progress) -> None:
            show(step.phase, f"{step.done}/{step.total}" if step.total else "")

        async def work() -> None:
            built.append(await builder.build(call.settings, force=force, progress=progress))

        interrupts.run(work(), call.diagnostics)
    return built[0]


def _columns() -> tuple[Column[Manifest], ...]:
    from vctui.present.columns import Cell, Column
    from vctui.present.humanize import moment, size

    def column(title: str, text: Callable[[Manifest], str]) -> Column[Manifest]:
        return Column(
            id=title.lower(),
            title=title,
            cell=lambda manifest, now: Cell(text(manifest)),
            sort_key=text,
            width=8,
        )

    return (
        column("KEY", lambda manifest: manifest.key),
        column("BUILT", lambda manifest: moment(manifest.created)),
        column("KERNEL", lambda manifest: manifest.kernel_release),
        column("SIZE", lambda manifest: size(sum(one.size for one in manifest.outputs.values()))),
    )
