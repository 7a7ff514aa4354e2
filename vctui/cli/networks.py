"""`vctui network …`: networks of this host that pods can join by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Group, with_engine
from vctui.cli.completion import network_names

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime


@click.group(cls=Group)
def network() -> None:
    """Make, list and describe the networks that pods can join (CNI)."""


name_argument = click.argument("name", shell_complete=network_names)


@network.command()
@click.argument("name", default="")
@click.option(
    "--subnet",
    "subnets",
    metavar="CIDR",
    multiple=True,
    help="Take addresses from this subnet; once for each family.",
)
@click.option("--bridge", metavar="LINK", default="", help="Name the bridge so.")
@with_engine
async def init(
    call: Call, runtime: Runtime, name: str, subnets: tuple[str, ...], bridge: str
) -> None:
    """Make a network on which pods reach the host, each other, and what the host reaches.

    NAME is vctui where none is given. A network that was made before stays as it is.
    """
    made, notes = await runtime.init_network(name, subnets=subnets, bridge=bridge)
    for note in notes:
        call.diagnostics.warning(note)
    call.output.done(f"{made.name}: {', '.join(made.subnets)} on {made.bridge}", made)


@network.command("list")
@with_engine
async def list_(call: Call, runtime: Runtime) -> None:
    """List the networks of this host."""
    networks, problems = await runtime.list_networks()
    for problem in problems:
        call.diagnostics.warning(problem)
    if call.output.json:
        call.output.document(networks)
    elif networks:
        from vctui.present.columns import NETWORKS

        call.output.table(NETWORKS, networks)
    else:
        call.diagnostics.note("no networks; make one with: vctui network init")


@network.command()
@name_argument
@with_engine
async def inspect(call: Call, runtime: Runtime, name: str) -> None:
    """Show a network, the programs that make it, and the pods on it."""
    found = await runtime.inspect_network(name)
    if call.output.json:
        call.output.document(found)
        return
    from vctui.present import details

    call.output.details(details.network(found))


@network.command()
@name_argument
@with_engine
async def remove(call: Call, runtime: Runtime, name: str) -> None:
    """Remove a network that `vctui network init` made and no pod is on."""
    removed = await runtime.remove_network(name)
    call.output.done(f"{removed.name} removed", removed)
