"""`vctui demo`: the console with a pod to play with, or a tour in text where there is no
terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import click

from vctui.cli.call import Call, Command
from vctui.cli.diagnostics import Ended

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime
    from vctui.model.pod import PodStatus

_FILE: Final = "hello.toml"
_LINES: Final = 3
_PATIENCE: Final = 30.0
"""Seconds for the container's first lines."""


@click.command(cls=Command)
@click.option("--text", is_flag=True, help="The text tour, on a terminal too.")
@click.pass_obj
def demo(call: Call, text: bool) -> None:
    """Run a demo pod and open the console.

    Where standard output is no terminal, the pod's life is told as text instead:
    create, start, list, exec, logs, pause, resume, delete. The guest is built if it is missing.
    """
    _ready_guest(call)
    if text or call.output.json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        call.run(lambda runtime: _tour(call, runtime))
        return
    call.run(lambda runtime: _run_pod(call, runtime))
    status = call.console()
    call.run(lambda runtime: _remind(call, runtime))
    raise Ended(status)


def _ready_guest(call: Call) -> None:
    from vctui.cli.guest import build_guest
    from vctui.errors import GuestNotBuilt
    from vctui.image.current import current_guest
    from vctui.model.kinds import HypervisorType

    if call.settings.pod.hypervisor_type is HypervisorType.MOCK:
        return
    try:
        current_guest(call.settings)
    except GuestNotBuilt:
        build_guest(call)


async def _run_pod(call: Call, runtime: Runtime) -> None:
    """Have the demo pod running, whatever became of an earlier one."""
    from vctui.engine.podfile import DEMO_DIR, load_pod
    from vctui.errors import NotFound
    from vctui.model.state import State

    config = load_pod(DEMO_DIR / _FILE, call.settings)
    with call.diagnostics.progress(lines=True) as progress:
        try:
            status = await runtime.status_pod(config.id)
        except NotFound:
            await runtime.run_pod(config, progress=progress)
            return
        if status.state is State.PAUSED:
            await runtime.resume_pod(config.id)
        elif status.state is not State.RUNNING:
            await runtime.start_pod(config.id, progress=progress)


async def _remind(call: Call, runtime: Runtime) -> None:
    """Pods outlive the console: say so, where the demo's does."""
    for pod in await runtime.list_pods():
        if f"{pod.id}.toml" == _FILE:
            call.diagnostics.note(
                f"pod {pod.id} is still there ({pod.state}); "
                f"`vctui` shows it again, `vctui pod delete {pod.id}` removes it"
            )


async def _tour(call: Call, runtime: Runtime) -> None:
    """One pod from its file to its end, each step as the command that does it."""
    import msgspec

    from vctui.cli.tables import pod_columns
    from vctui.engine.podfile import DEMO_DIR, load_pod

    file = DEMO_DIR / _FILE
    pod = f"tour-{os.getpid()}"
    config = msgspec.structs.replace(load_pod(file, call.settings), id=pod)
    container = config.containers[0].id
    say = _Narrator(call)

    with call.diagnostics.progress() as progress:
        await say("created", "pod", "create", file.name, do=lambda: runtime.create_pod(config))
        try:
            await say(
                "started", "pod", "start", pod, do=lambda: runtime.start_pod(pod, progress=progress)
            )
            say.command("pod", "list")
            if not call.output.json:
                call.output.table(pod_columns(), await runtime.list_pods())
            await _exec(say, runtime, pod, container, ("uname", "-srm"))
            await _logs(say, runtime, pod, container)
            await say("paused", "pod", "pause", pod, do=lambda: runtime.pause_pod(pod))
            await say("resumed", "pod", "resume", pod, do=lambda: runtime.resume_pod(pod))
        finally:
            await say("deleted", "pod", "delete", pod, do=lambda: runtime.delete_pod(pod))


class _Narrator:
    """Tells each step: as the command and its answer, or as JSON lines."""

    def __init__(self, call: Call) -> None:
        self._output = call.output

    def command(self, *words: str) -> None:
        if self._output.json:
            self._output.line({"command": ["vctui", *words]})
        else:
            self._output.text(f"\n$ {shlex.join(('vctui', *words))}")

    def answer(self, text: str) -> None:
        if self._output.json:
            self._output.line({"output": text})
        else:
            self._output.text(text)

    async def __call__(
        self, said: str, *words: str, do: Callable[[], Awaitable[PodStatus]]
    ) -> None:
        self.command(*words)
        status = await do()
        if self._output.json:
            self._output.line(status)
        else:
            self._output.text(f"{status.id} {said}")


async def _exec(
    say: _Narrator, runtime: Runtime, pod: str, container: str, args: tuple[str, ...]
) -> None:
    from vctui.model.container import Cmd
    from vctui.present.humanize import plain

    say.command("container", "exec", pod, container, "--", *args)
    process = await runtime.enter_container(pod, container, Cmd(args=args))
    attachment = await runtime.attach(pod, container, process.token, replay=4096)
    written = b"".join([output.data async for output in attachment])
    for line in written.decode(errors="replace").splitlines():
        say.answer(plain(line))


async def _logs(say: _Narrator, runtime: Runtime, pod: str, container: str) -> None:
    """The container's first lines, waited for."""
    import asyncio

    from vctui.model.logs import LogSource
    from vctui.present.humanize import plain

    say.command("logs", pod, container, "-f")
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            async for line in runtime.logs(pod, LogSource.CONTAINER, container, follow=True):
                say.answer(plain(line.text.decode(errors="replace")))
                seen += 1
                if seen == _LINES:
                    return
    say.answer(f"({seen} lines in {_PATIENCE:g} seconds)")
