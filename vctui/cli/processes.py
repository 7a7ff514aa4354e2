"""`vctui container exec|attach|kill|ps` and `vctui console`: processes and terminals."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vctui.cli.call import Call, Command, with_engine
from vctui.cli.containers import container, container_id, pod_id, resolve
from vctui.cli.diagnostics import FAILED, Ended

if TYPE_CHECKING:
    from vctui.cli.rawtty import Outcome
    from vctui.drivers.shims.base import Attachment
    from vctui.engine.runtime import Runtime
    from vctui.model.container import EnvVar


class SignalName(click.ParamType[int]):
    """TERM, SIGTERM or 15 → 15."""

    name = "signal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from vctui.model import signals

        try:
            return value if isinstance(value, int) else signals.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class EnvAssignment(click.ParamType["EnvVar"]):
    """K=V → EnvVar; K alone takes the value of the caller's environment."""

    name = "K=V"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> EnvVar:
        from vctui.model.container import EnvVar

        if isinstance(value, EnvVar):
            return value
        name, separator, text = str(value).partition("=")
        if not name:
            self.fail(f"{value!r} has no name; write NAME=value", param, ctx)
        return EnvVar(var=name, value=text if separator else os.environ.get(name, ""))


@container.command()
@pod_id
@container_id
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give the process a terminal.")
@click.option("-u", "--user", default="", help="Name or number, also USER:GROUP.")
@click.option("-w", "--workdir", default="", help="Folder in the container.")
@click.option("-e", "--env", multiple=True, type=EnvAssignment(), help="Set a variable.")
@click.option("-d", "--detach", is_flag=True, help="Do not wait; print the process's token.")
@click.argument("args", nargs=-1, required=True, metavar="-- ARGS...")
@with_engine
async def exec(  # noqa: A001 - the word of the command line
    call: Call,
    runtime: Runtime,
    pod_id: str,
    container_id: str,
    interactive: bool,
    tty: bool,
    user: str,
    workdir: str,
    env: tuple[EnvVar, ...],
    detach: bool,
    args: tuple[str, ...],
) -> None:
    """Run a process in a container; its exit status becomes this command's.

    User, folder and environment are the container's, where the options say nothing else.
    """
    from vctui.model.checks import check_cmd
    from vctui.model.container import Cmd, EnvVar

    if tty and all(one.var != "TERM" for one in env):
        env = (*env, EnvVar(var="TERM", value=os.environ.get("TERM", "xterm")))
    cmd = check_cmd(
        Cmd(
            args=args,
            envs=env,
            work_dir=workdir,
            user=user,
            interactive=tty,
            stdin=interactive,
            detach=detach,
        )
    )
    pod, target = resolve(runtime, pod_id, container_id)
    call.stands_for_process = not detach
    process = await runtime.enter_container(pod, target, cmd)
    if detach:
        call.output.done(process.token, process)
        return
    rows, columns = _window() if tty else (0, 0)
    attachment = await runtime.attach(
        pod,
        target,
        process.token,
        replay=call.settings.logs.replay_bytes,
        rows=rows,
        columns=columns,
    )
    if call.output.json or not (interactive or tty):
        await attachment.close_stdin()
    if call.output.json:
        await _collect(call, attachment, token=process.token)
    outcome = await _join(call, attachment, terminal=tty, interactive=interactive)
    if outcome.detached:
        call.diagnostics.note(
            f"\ndetached; come back with: vctui container attach {pod} {target} "
            f"--process {process.token}"
        )
        return
    _end(outcome, attachment)


@container.command()
@pod_id
@container_id
@click.option("--process", "token", default="", metavar="TOKEN", help="One added with exec.")
@click.option("--no-stdin", is_flag=True, help="Only look.")
@with_engine
async def attach(
    call: Call, runtime: Runtime, pod_id: str, container_id: str, token: str, no_stdin: bool
) -> None:
    """Join the standard streams of a container; leave with the detach keys.

    The exit status is the process's own, if it ends.
    """
    pod, target = resolve(runtime, pod_id, container_id)
    terminal = (await runtime.status_container(pod, target)).terminal or bool(token)
    rows, columns = _window() if terminal else (0, 0)
    attachment = await runtime.attach(
        pod, target, token, replay=call.settings.logs.replay_bytes, rows=rows, columns=columns
    )
    if call.output.json:
        await _follow(call, attachment)
    outcome = await _join(call, attachment, terminal=terminal, interactive=not no_stdin)
    if outcome.detached:
        call.diagnostics.note("\ndetached; the process goes on")
    else:
        _end(outcome, attachment)


@click.command(cls=Command)
@pod_id
@click.option("--no-stdin", is_flag=True, help="Only look.")
@with_engine
async def console(call: Call, runtime: Runtime, pod_id: str, no_stdin: bool) -> None:
    """Join the serial console of a pod's guest; leave with the detach keys."""
    attachment = await runtime.console(
        runtime.resolve_pod(pod_id), replay=call.settings.logs.replay_bytes
    )
    if call.output.json:
        await _follow(call, attachment)
    outcome = await _join(call, attachment, terminal=True, interactive=not no_stdin)
    left = "the guest goes on" if outcome.detached else attachment.reason or "the guest closed it"
    call.diagnostics.note(f"\nleft the console; {left}")


@container.command()
@pod_id
@container_id
@click.option("-s", "--signal", default="TERM", show_default=True, type=SignalName())
@click.option("-a", "--all", "all_", is_flag=True, help="Every process of the container.")
@with_engine
async def kill(
    call: Call, runtime: Runtime, pod_id: str, container_id: str, signal: int, all_: bool
) -> None:
    """Send a signal to a container's first process, or to all."""
    from vctui.model import signals

    pod, target = resolve(runtime, pod_id, container_id)
    await runtime.kill_container(pod, target, signal, all=all_)
    name = signals.name(signal)
    document = {"pod_id": pod, "id": target, "signal": signal, "all": all_}
    call.output.done(f"{target} was sent {name}", document)


@container.command()
@pod_id
@container_id
@click.option(
    "--format",
    "format_",
    type=click.Choice(["json", "table"]),
    help="json: what the agent tells; table: what ps prints.  [default: table]",
)
@click.argument("args", nargs=-1, metavar="[-- PS ARGS...]")
@with_engine
async def ps(
    call: Call,
    runtime: Runtime,
    pod_id: str,
    container_id: str,
    format_: str | None,
    args: tuple[str, ...],
) -> None:
    """List the processes of a container."""
    import msgspec

    from vctui.errors import AgentError
    from vctui.model.container import ProcessListOptions
    from vctui.model.kinds import ProcessListFormat

    chosen = ProcessListFormat(format_ or ("json" if call.output.json else "table"))
    pod, target = resolve(runtime, pod_id, container_id)
    found = await runtime.process_list_container(
        pod, target, ProcessListOptions(format=chosen, args=args)
    )
    if chosen is ProcessListFormat.TABLE:
        text = found.decode(errors="replace").rstrip("\n")
        if call.output.json:
            call.output.document({"table": text})
            return
        from vctui.present.humanize import plain

        for line in text.split("\n"):
            call.output.text(plain(line.expandtabs(), 4096))
        return
    try:
        rows = msgspec.json.decode(found)
    except msgspec.DecodeError as error:
        raise AgentError(
            f"the agent's process list of container {target!r} is not JSON; use --format table"
        ) from error
    call.output.document(rows)


async def _join(
    call: Call, attachment: Attachment, *, terminal: bool, interactive: bool
) -> Outcome:
    from vctui.cli import rawtty

    return await rawtty.run(
        attachment,
        terminal=terminal,
        interactive=interactive,
        detach_keys=call.settings.console.detach_keys,
    )


def _end(outcome: Outcome, attachment: Attachment) -> NoReturn:
    """Raises Ended with the process's exit status, MachineDied where it has none."""
    from vctui.errors import MachineDied

    if outcome.exit_code is None:
        raise MachineDied(
            f"the process went away: {attachment.reason or 'no reason was given'}; "
            "see the pod's events"
        )
    raise Ended(outcome.exit_code)


async def _collect(call: Call, attachment: Attachment, *, token: str) -> NoReturn:
    """The whole of a process as one JSON document; nothing is passed to it."""
    streams = {1: bytearray(), 2: bytearray()}
    async for output in attachment:
        streams[output.stream].extend(output.data)
    call.output.document(
        {
            "token": token,
            "exit_code": attachment.exit_code,
            "reason": attachment.reason,
            "stdout": streams[1].decode(errors="replace"),
            "stderr": streams[2].decode(errors="replace"),
        }
    )
    raise Ended(FAILED if attachment.exit_code is None else attachment.exit_code)


async def _follow(call: Call, attachment: Attachment) -> NoReturn:
    """Output as JSON lines, the last with the exit code; nothing is passed to the process."""
    utf8 = codecs.getincrementaldecoder("utf-8")
    decoders = {1: utf8("replace"), 2: utf8("replace")}
    async for output in attachment:
        text = decoders[output.stream].decode(output.data)
        call.output.line({"stream": "stdout" if output.stream == 1 else "stderr", "text": text})
    call.output.line({"exit_code": attachment.exit_code, "reason": attachment.reason})
    raise Ended(FAILED if attachment.exit_code is None else attachment.exit_code)


def _window() -> tuple[int, int]:
    """Rows and columns of the terminal; zeros where there is none."""
    for stream in (sys.stdout, sys.stdin, sys.stderr):
        try:
            size = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError):
            continue
        return size.lines, size.columns
    return 0, 0
