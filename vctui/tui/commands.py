"""Does what the keys ask for: the dialogs before, the engine's call, progress, and the outcome."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from textual.content import Content

from vctui.errors import AlreadyExists, NotFound, VctuiError
from vctui.model.container import Cmd, EnvVar
from vctui.model.events import Event, EventKind
from vctui.model.pod import PodStatus
from vctui.present import problems
from vctui.present.humanize import plain
from vctui.tui.actions import Action, Context, Pane, command_line, targets
from vctui.tui.operations import Operations
from vctui.tui.streams import WithoutTerminal

if TYPE_CHECKING:
    from textual.app import App

    from vctui.drivers.shims.base import Attachment
    from vctui.settings import Settings
    from vctui.tui.gateway import Gateway
    from vctui.tui.screens.main import MainScreen
    from vctui.tui.screens.terminal import OpenTerminal

AT_ONCE: Final = 4
"""Pods that are changed at the same time when many are marked."""

_TERMINAL_ENV: Final = (EnvVar(var="TERM", value="xterm-256color"),)

_NOTES: Final[dict[str, str]] = {
    "pod.stop": "Containers get their stop signal and some time, then SIGKILL.",
    "pod.restart": "What runs in it is stopped; the machine boots again.",
    "pod.delete": "What runs is stopped. Nothing of the pod is left but its events.",
    "container.stop": "It gets its stop signal and some time, then SIGKILL.",
    "container.delete": "Its root file system and its log are removed.",
}


class Commands:
    """Dialogs are imported when they are first needed: the first paint does not wait for them."""

    def __init__(
        self, app: App[int], main: MainScreen, gateway: Gateway, settings: Settings
    ) -> None:
        self._app = app
        self._main = main
        self._gateway = gateway
        self._settings = settings
        self.operations = Operations()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._last_command = ""
        self._do: dict[str, Callable[[Action, Context], Awaitable[None]]] = {
            "pod.run": self._run_pod,
            "pod.start": self._change_pods,
            "pod.stop": self._change_pods,
            "pod.pause": self._change_pods,
            "pod.resume": self._change_pods,
            "pod.restart": self._change_pods,
            "pod.delete": self._change_pods,
            "pod.forward": self._forward,
            "container.start": self._change_container,
            "container.stop": self._change_container,
            "container.delete": self._change_container,
            "container.kill": self._kill,
            "guest.build": self._build_guest,
            "app.doctor": self._doctor,
        }
        self._show_at_once: dict[str, Callable[[Action, Context], None]] = {
            "container.shell": self._shell,
            "container.exec": self._exec,
            "container.attach": self._attach,
        }

    def knows(self, action: Action) -> bool:
        return action.id in self._do or action.id in self._show_at_once

    def perform(self, action: Action, context: Context) -> None:
        """Begin; never raises: whatever goes wrong is reported."""
        if show := self._show_at_once.get(action.id):
            show(action, context)
        else:
            self._app.run_worker(
                self._guarded(action, context), group="commands", exit_on_error=False
            )

    async def _guarded(self, action: Action, context: Context) -> None:
        try:
            await self._do[action.id](action, context)
        except Exception as error:
            self.report(error, context.pod.id if context.pod else "")

    def report(self, error: BaseException, pod_id: str = "") -> None:
        """A notification now, and an event to read later."""
        problem = problems.describe(error)
        if not problem.expected:
            self._app.log.error(problem.sentence)
        self._app.notify(
            problem.sentence, title=problem.title, severity="error", timeout=10, markup=False
        )
        self._main.add_event(
            Event(
                kind=EventKind.FAILED,
                pod_id=pod_id,
                message=problem.sentence,
                time=datetime.now(UTC),
            )
        )

    # --- progress

    async def _track(self, label: str, work: Callable[[int], Awaitable[None]]) -> None:
        """Show `label` in the status bar while `work` goes on."""
        number = self.operations.begin(label, monotonic())
        self._show()
        try:
            await work(number)
        finally:
            self.operations.end(number)
            self._show()

    def enter_phase(self, number: int, phase: str) -> None:
        self.operations.enter(number, phase)
        self._show()

    def _show(self) -> None:
        self._main.status.operations = self.operations.running

    def _tell_command(self, action: Action, context: Context, **more: str) -> None:
        self._main.status.command = command_line(action, context, **more)

    # --- pods

    async def _change_pods(self, action: Action, context: Context) -> None:
        pods = targets(action, context)
        if len(pods) == 1:  # it may be a marked one, not that under the cursor
            context = replace(context, pod=pods[0])
        if action.asks and not await self._confirmed(action, context, [pod.id for pod in pods]):
            return
        self._main.status.command = command_line(action, context) if len(pods) == 1 else ""
        if context.marked:
            self._main.pods.clear_marks()
        await asyncio.gather(*(self._change_pod(action, pod) for pod in pods))

    async def _change_pod(self, action: Action, pod: PodStatus) -> None:
        gateway = self._gateway

        async def work(number: int) -> None:
            async with self._slots:
                match action.id:
                    case "pod.start":
                        await gateway.start_pod(number, pod.id)
                    case "pod.stop":
                        await gateway.stop_pod(number, pod.id)
                    case "pod.restart":
                        await gateway.restart_pod(number, pod.id)
                    case "pod.delete":
                        with suppress(NotFound):  # somebody else was quicker
                            await gateway.delete_pod(number, pod.id)
                    case "pod.pause":
                        await gateway.pause_pod(pod.id)
                    case "pod.resume":
                        await gateway.resume_pod(pod.id)

        try:
            await self._track(f"{action.label} {pod.id}", work)
        except Exception as error:
            self.report(error, pod.id)

    async def _confirmed(self, action: Action, context: Context, names: Sequence[str]) -> bool:
        from vctui.tui.screens.confirm import Confirm

        command = command_line(action, context) if len(names) == 1 else ""
        dialog = Confirm(action.label, names, _NOTES.get(action.id, ""), command)
        answer = await self._app.push_screen_wait(dialog)
        return answer is True

    async def _run_pod(self, action: Action, context: Context) -> None:
        from vctui.tui.screens.run_pod import RunPod

        taken = frozenset(pod.id for pod in self._main.pods.rows)
        dialog = RunPod(self._gateway, self._settings.pods_dir, taken)
        if (chosen := await self._app.push_screen_wait(dialog)) is None:
            return
        path, config = chosen
        if config.id in taken:
            raise AlreadyExists(
                f"pod {config.id!r} exists already; start it, or delete it before it is run anew"
            )
        self._tell_command(action, context, file=str(path))
        self._main.await_pod(config.id)
        await self._track(f"run {config.id}", lambda number: self._gateway.run_pod(number, config))

    async def _forward(self, action: Action, context: Context) -> None:
        from vctui.tui.screens.forward import AskPorts

        if context.pod is None:
            return
        pod_id, gateway = context.pod.id, self._gateway
        bound = [each for one in gateway.forwarded if one.pod_id == pod_id for each in one.bound]
        pairs = await self._app.push_screen_wait(AskPorts(pod_id, bound))
        if pairs is None:
            return
        if not pairs:
            gateway.end_forwards(pod_id)
            self._app.notify(f"no port leads to {pod_id} any more", timeout=4, markup=False)
            return
        ports = " ".join(f"{one.host_port}:{one.pod_port}" for one in pairs)
        self._tell_command(action, context, ports=ports)
        made = await gateway.forward(pod_id, pairs)
        where = ", ".join(f"{one.where} → {one.pod_port}" for one in made)
        self._app.notify(where, title=f"Ports of {pod_id}", timeout=6, markup=False)

    # --- containers

    async def _change_container(self, action: Action, context: Context) -> None:
        pod_id, container_id = _names(context)
        name = f"{pod_id}/{container_id}"
        if action.asks and not await self._confirmed(action, context, [name]):
            return
        self._tell_command(action, context)
        call = {
            "container.start": self._gateway.start_container,
            "container.stop": self._gateway.stop_container,
            "container.delete": self._gateway.delete_container,
        }[action.id]
        await self._track(f"{action.label} {name}", lambda number: call(pod_id, container_id))

    async def _kill(self, action: Action, context: Context) -> None:
        from vctui.tui.screens.kill import KillDialog

        pod_id, container_id = _names(context)
        if (kill := await self._app.push_screen_wait(KillDialog(pod_id, container_id))) is None:
            return
        everyone = " --all" if kill.everyone else ""
        self._tell_command(action, context, signal=kill.signal.name, all=everyone)
        await self._gateway.kill_container(
            pod_id, container_id, kill.signal, everyone=kill.everyone
        )

    # --- terminals

    def _shell(self, action: Action, context: Context) -> None:
        self._tell_command(action, context)
        self._enter(context, ("/bin/sh",))

    def _exec(self, action: Action, context: Context) -> None:
        from vctui.tui.screens.ask import AskCommand

        def enter(words: tuple[str, ...] | None) -> None:
            if words:
                self._last_command = shlex.join(words)
                self._tell_command(action, context, args=self._last_command)
                self._enter(context, words)

        self._app.push_screen(AskCommand(*_names(context), last=self._last_command), enter)

    def _enter(self, context: Context, words: tuple[str, ...]) -> None:
        pod_id, container_id = _names(context)
        cmd = Cmd(args=words, interactive=True, envs=_TERMINAL_ENV)

        async def start(rows: int, columns: int) -> Attachment:
            token = await self._gateway.enter_container(pod_id, container_id, cmd)
            return await self._gateway.attach(
                pod_id, container_id, token, rows=rows, columns=columns
            )

        self._show_terminal(context, start, " ".join(words))

    def _attach(self, action: Action, context: Context) -> None:
        self._tell_command(action, context)
        pod_id, container_id = _names(context)
        token, what, terminal = "", "", True
        if context.pane is Pane.PROCESSES and context.process and context.process.token:
            token, what = context.process.token, context.process.args
        elif context.container is not None:
            what, terminal = " ".join(context.container.args), context.container.terminal

        async def join(rows: int, columns: int) -> Attachment:
            attachment = await self._gateway.attach(
                pod_id, container_id, token, rows=rows, columns=columns
            )
            return attachment if terminal else WithoutTerminal(attachment)

        self._show_terminal(context, join, what)

    def _show_terminal(self, context: Context, opened: OpenTerminal, what: str) -> None:
        from vctui.tui.screens.terminal import TerminalScreen

        pod_id, container_id = _names(context)
        title = f"{pod_id}/{container_id}  {plain(what, 60)}"
        detach_keys = self._settings.console.detach_keys

        def left(outcome: str | VctuiError | None) -> None:
            if isinstance(outcome, VctuiError):
                self.report(outcome, pod_id)
            elif outcome:
                self._app.notify(outcome, timeout=4, markup=False)

        self._app.push_screen(TerminalScreen(opened, title, detach_keys), left)

    # --- the host

    async def _build_guest(self, action: Action, context: Context) -> None:
        self._tell_command(action, context)
        await self._track("build guest", self._gateway.build_guest)
        self._main.set_guest_built(await self._gateway.guest_built())
        self._app.notify("The guest image is ready.", timeout=5)

    async def _doctor(self, action: Action, context: Context) -> None:
        from vctui.tui.screens.notice import Notice, findings

        self._tell_command(action, context)
        found: list[Content] = []

        async def work(number: int) -> None:
            found.append(findings(await self._gateway.doctor()))

        await self._track("examine this host", work)
        await self._app.push_screen_wait(Notice("Doctor", found[0]))


def _names(context: Context) -> tuple[str, str]:
    if context.pod is None or context.container is None:
        raise NotFound("no container is selected; select one first")
    return context.pod.id, context.container.id
