"""`vctui guest add|remove|check`: kernels and images of the operator's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vctui.cli.call import Call, Command, with_engine

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime
    from vctui.model.hypervisor import Param
    from vctui.model.kinds import AgentProtocol

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=Command)
@click.argument("name")
@click.option("--kernel", type=_FILE, help="Kernel to boot; the built one where none is named.")
@click.option("--initrd", type=_FILE, help="Initial RAM disk that the agent is in.")
@click.option("--image", type=_FILE, help="Disk image that the agent is in.")
@click.option("--agent", metavar="TYPE", default="kata", show_default=True, help="Who answers.")
@click.option(
    "--protocol",
    metavar="WORD",
    default="auto",
    show_default=True,
    help="What it speaks: ttrpc, grpc, or auto to ask it.",
)
@click.option(
    "--socket",
    "socket_type",
    metavar="TYPE",
    default="unix",
    show_default=True,
    help="How it is reached: unix, a serial port; vsock; or hybrid-vsock.",
)
@click.option(
    "--kernel-param",
    "parameters",
    metavar="KEY[=VALUE]",
    multiple=True,
    help="Append to the kernel's command line; may be repeated.",
)
@click.option(
    "--shared-fs", metavar="WORD", help="How it is shown folders of the host: 9p or virtio-fs."
)
@click.option("--memory", type=int, default=0, metavar="MIB", help="For pods that name no size.")
@click.option("--force", is_flag=True, help="Replace a guest of that name.")
@with_engine
async def add(
    call: Call,
    runtime: Runtime,
    name: str,
    kernel: Path | None,
    initrd: Path | None,
    image: Path | None,
    agent: str,
    protocol: str,
    socket_type: str,
    parameters: tuple[str, ...],
    shared_fs: str | None,
    memory: int,
    force: bool,
) -> None:
    """Name a kernel and an image, so that pod files can say guest = "NAME"."""
    from vctui.model.agent import AgentConfig
    from vctui.model.guest import Guest
    from vctui.model.kinds import AgentProtocol, AgentType, SharedFs, SocketType, parse

    guest = Guest(
        name=name,
        kernel_path=_absolute(kernel),
        initrd_path=_absolute(initrd),
        image_path=_absolute(image),
        kernel_params=tuple(_parameter(word) for word in parameters),
        memory=memory,
        shared_fs=parse(SharedFs, shared_fs) if shared_fs else None,
        agent_type=parse(AgentType, agent),
        agent_config=AgentConfig(
            protocol=parse(AgentProtocol, protocol), socket_type=parse(SocketType, socket_type)
        ),
    )
    call.output.done(f"guest {name} is added", await runtime.add_guest(guest, replace=force))


@click.command(cls=Command)
@click.argument("name")
@with_engine
async def remove(call: Call, runtime: Runtime, name: str) -> None:
    """Forget a guest; its files stay."""
    call.output.done(f"guest {name} is removed", await runtime.remove_guest(name))


@click.command(cls=Command)
@click.argument("name")
@with_engine
async def check(call: Call, runtime: Runtime, name: str) -> None:
    """Boot a guest, and say which agent answered and what it can do."""
    with call.diagnostics.progress() as progress:
        report = await runtime.check_guest(name, progress=progress)
    if call.output.json:
        call.output.document(report)
        return
    call.output.text(f"agent {report.agent}, over {report.protocol}, after {report.seconds:g} s")
    for what, words in (
        ("storage", report.storage_handlers),
        ("devices", report.device_handlers),
        ("seccomp", ("yes",) if report.supports_seccomp else ()),
        ("more", report.features),
    ):
        if words:
            call.output.text(f"{what}: {', '.join(words)}")


def show(call: Call) -> None:
    """The guests that were added."""

    async def body(runtime: Runtime) -> None:
        found = await runtime.list_guests()
        if call.output.json:
            call.output.document(found)
        elif found:
            from vctui.present.columns import GUESTS

            call.output.table(GUESTS, found)
        else:
            call.diagnostics.note("no guest was added; add one with: vctui guest add NAME")

    call.run(body)


def add_flavour(call: Call, protocol: AgentProtocol) -> None:
    """The built guest, with the face that speaks `protocol`, by the protocol's name."""
    from vctui.model.agent import AgentConfig
    from vctui.model.guest import Guest

    guest = Guest(name=protocol.value, agent_config=AgentConfig(protocol=protocol))

    async def body(runtime: Runtime) -> None:
        await runtime.add_guest(guest, replace=True)

    call.run(body)


def _absolute(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())


def _parameter(word: str) -> Param:
    from vctui.model.hypervisor import Param

    key, _, value = word.partition("=")
    return Param(key=key, value=value)
