"""The console: wiring only."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events
from textual.app import SystemCommand
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

from vctui.errors import InvalidConfig, VctuiError
from vctui.present.humanize import plain
from vctui.settings import Settings
from vctui.tui import keymap, themes, workers
from vctui.tui.actions import BY_ID, Action, Context, allowed, why_not
from vctui.tui.commands import Commands
from vctui.tui.frames import hasten
from vctui.tui.garbage import TICK, FullCollections
from vctui.tui.gateway import Gateway, OpenRuntime, open_engine
from vctui.tui.messages import (
    Changed,
    Connected,
    ConnectionFailed,
    Discarded,
    ForwardProblem,
    ProcessesSampled,
    Progressed,
)
from vctui.tui.screens.main import MainScreen
from vctui.tui.strips import make_lean
from vctui.tui.terminal.capture import KeyCapture
from vctui.tui.terminal.driver import TerminalDriver

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.driver import Driver

GRACE: Final = 5.0
"""Seconds that a change under way gets to complete when the console is closed."""
LIMIT: Final = 60.0
"""Seconds for everything after that: undoing the change, closing the engine."""
_TURN: Final = 0.001
"""Seconds after which the engine's thread lets go of the interpreter when the screen's wants it:
a key takes several turns."""
_NODES: Final = 8
"""Widgets that get other colours between two looks at the keys."""


def _actions() -> type[Provider]:
    from vctui.tui.palette import Actions

    return Actions


def _pods() -> type[Provider]:
    from vctui.tui.palette import Pods

    return Pods


class ConsoleApp(KeyCapture[int], inherit_bindings=False):
    CSS_PATH = ["styles/app.tcss", "styles/dialogs.tcss"]  # noqa: RUF012 - Textual's
    COMMANDS: ClassVar[set[Any]] = {_actions, _pods}
    TITLE = "vctui"
    ENABLE_COMMAND_PALETTE = False
    """Textual would give it a key that comes before an attached terminal; ours is an action."""

    def __init__(
        self,
        settings: Settings,
        *,
        read_only: bool = False,
        open_runtime: OpenRuntime = open_engine,
        collects: bool = False,
    ) -> None:
        """With `collects` the process is the console's alone, its garbage collector too."""
        self.keymap = keymap.build(settings.keys)
        self._keys = keymap.by_key(self.keymap)
        super().__init__()
        self.settings = settings
        self.gateway = Gateway(
            settings, self.post_message, read_only=read_only, open_runtime=open_runtime
        )
        self.main = MainScreen(
            self.gateway,
            self.keymap,
            read_only=read_only,
            detach_keys=settings.console.detach_keys,
        )
        self.commands = Commands(self, self.main, self.gateway, settings)
        self.ended_by = 0
        """The signal that ended the console, if one did."""
        self._collects = collects
        self._garbage: FullCollections | None = None
        self._titles: dict[str, str] = {}
        self._theme_problems: list[VctuiError] = []
        self._load_themes()
        if not settings.console.animations:
            self.animation_level = "none"
        for key in self._keys:
            self.bind(key, f"press({key!r})", show=False)

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        return TerminalDriver if found is LinuxDriver else found

    # --- themes

    def _load_themes(self) -> None:
        found, self._theme_problems = themes.load_all(
            [themes.shipped_dir(), self.settings.themes_dir]
        )
        for name, (title, theme) in found.items():
            self._titles[name] = title
            self.register_theme(theme)
        wanted = self.settings.console.theme
        if wanted not in found:
            known = ", ".join(sorted(found))
            self._theme_problems.append(
                InvalidConfig(f"console.theme: there is no theme {wanted!r}; there are {known}")
            )
            wanted = themes.DEFAULT
        if wanted in found:
            self.theme = wanted

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.FALLBACKS

    def refresh_css(self, animate: bool = True) -> None:
        """Show all in other colours: as Textual (8.2) does, but in steps, between which keys have
        their effects."""
        if self.main.is_running:
            workers.start(self, self._restyle(animate), group="colours")
        else:
            super().refresh_css(animate)

    async def _restyle(self, animate: bool) -> None:
        parsed = None
        while parsed is None or parsed.source != self.stylesheet.source:  # other widgets came
            parsed = self.stylesheet.copy()
            parsed.set_variables(self.get_css_variables())
            await asyncio.to_thread(parsed.parse)
        self.stylesheet = parsed
        with self.batch_update():  # one picture, at the end
            for screen in self.screen_stack:
                nodes = list(screen.walk_children(with_self=True))
                for first in range(0, len(nodes), _NODES):
                    self.stylesheet.update_nodes(nodes[first : first + _NODES], animate=animate)
                    await asyncio.sleep(0)
                screen.refresh(layout=True)
        self.post_message(Discarded())

    # --- life

    def get_default_screen(self) -> Screen[Any]:
        return self.main

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self._hang_up, number)
        self.set_keymap(keymap.of_log(self.keymap))
        self.call_after_refresh(self.gateway.start)
        self.set_interval(TICK, self._tick)
        for problem in self._theme_problems:
            self.notify(str(problem), title="Theme", severity="warning", timeout=10, markup=False)

    def on_connected(self, message: Connected) -> None:
        self.main.connect(guest_built=message.guest_built)

    def on_forward_problem(self, message: ForwardProblem) -> None:
        self.notify(
            plain(message.sentence),
            title=f"Ports of {message.pod_id}",
            severity="warning",
            markup=False,
        )

    def on_connection_failed(self, message: ConnectionFailed) -> None:
        self.commands.report(message.error)

    def on_failed(self, message: workers.Failed) -> None:
        self.commands.report(message.error)

    def on_changed(self, message: Changed) -> None:
        self.main.show_snapshot(message.snapshot)
        if self._garbage is None and self._collects:
            self._garbage = FullCollections()
            self.call_after_refresh(self._garbage.take_over)

    def on_processes_sampled(self, message: ProcessesSampled) -> None:
        self.main.show_processes(message)

    def on_progressed(self, message: Progressed) -> None:
        self.commands.enter_phase(message.number, message.phase)

    def on_discarded(self, message: Discarded) -> None:
        if self._garbage is not None:
            self._garbage.discarded(monotonic())

    async def on_event(self, event: events.Event) -> None:
        if self._garbage is not None and isinstance(event, events.InputEvent):
            self._garbage.key(monotonic())
        await super().on_event(event)

    def _tick(self) -> None:
        if self._garbage is not None:
            self._garbage.tick(monotonic())

    def _hang_up(self, number: int) -> None:
        """The terminal is gone, or somebody wants us to end."""
        self.ended_by = number
        self.exit(128 + number)

    # --- actions

    def action_press(self, key: str) -> None:
        """The first action of the key that is possible now; else a word on why none is."""
        context = self.main.context
        actions = [action for action in self._keys[key] if context.pane in action.panes]
        for action in actions:
            if allowed(action, context):
                self.act(action, context)
                return
        if actions:
            self.notify(why_not(actions[0], context), severity="warning", timeout=4, markup=False)

    def action_act(self, action_id: str) -> None:
        """Do an action by its id (footer, enter)."""
        action, context = BY_ID[action_id], self.main.context
        if allowed(action, context):
            self.act(action, context)
        else:
            self.notify(why_not(action, context), severity="warning", timeout=4, markup=False)

    def act(self, action: Action, context: Context) -> None:
        if self.commands.knows(action):
            self.commands.perform(action, context)
        elif not self.main.view_action(action):
            getattr(self, f"_{action.id.replace('.', '_')}")()

    def _app_help(self) -> None:
        from vctui.tui.screens.help import Help

        self.push_screen(Help(self.keymap, self.settings.console.detach_keys))

    def _app_palette(self) -> None:
        from vctui.tui.palette import Palette

        self.push_screen(Palette())

    def _app_theme(self) -> None:
        from vctui.tui.screens.choose import Choose

        before = self.theme

        def choose(name: str | None) -> None:
            self.theme = name or before

        def preview(name: str) -> None:
            self.theme = name

        options = sorted(self._titles.items(), key=lambda item: item[1])
        self.push_screen(Choose("Theme", options, before, preview), choose)

    def _app_quit(self) -> None:
        if not self.main.step_back():
            workers.start(self, self._quit(), group="quit")

    async def _quit(self) -> None:
        running = [operation.label for operation in self.commands.operations.running]
        if running:
            from vctui.tui.screens.confirm import Confirm

            note = "It is not complete; quitting undoes it, which can take a moment."
            if not await self.push_screen_wait(Confirm("quit", running, note)):
                return
        self.exit(0)

    async def action_quit(self) -> None:
        self._app_quit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """All commands are actions."""
        return ()


def run(
    settings: Settings, *, read_only: bool = False, open_runtime: OpenRuntime = open_engine
) -> int:
    """Run the console until it is left; the exit status.

    Raises:
        InvalidConfig: `[keys]` cannot be used.
    """
    sys.setswitchinterval(_TURN)
    hasten()
    make_lean()
    app = ConsoleApp(
        settings,
        read_only=read_only or settings.console.read_only,
        open_runtime=open_runtime,
        collects=True,
    )
    try:
        status = app.run()
    except OSError:
        # Where the terminal has gone away, saying goodbye to it fails.
        if not app.ended_by:
            raise
        status = 128 + app.ended_by
    finally:
        if not app.gateway.stop(grace=GRACE if app.ended_by else 0.0, limit=LIMIT):
            sys.stderr.write("vctui: the engine did not end in time; the next start cleans up\n")
    return app.return_code or 0 if status is None else status
