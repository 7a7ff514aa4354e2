"""The command palette: every action, and every pod by its name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from vctui.present import condition
from vctui.tui.actions import ACTIONS, Action, Context, Pane, allowed
from vctui.tui.keymap import display
from vctui.tui.screens.sheet import Sheet

if TYPE_CHECKING:
    from vctui.tui.keymap import Keymap
    from vctui.tui.screens.main import MainScreen


class Console(Protocol):
    """What is asked of the app."""

    main: MainScreen
    keymap: Keymap

    def act(self, action: Action, context: Context) -> None: ...


class Palette(CommandPalette, Sheet[None]):
    """Textual's, as the other dialogs are."""


class _ConsoleProvider(Provider):
    @property
    def console(self) -> Console:
        return self.app  # type: ignore[return-value]


class Actions(_ConsoleProvider):
    """What is possible with the selection, from whichever pane."""

    def _possible(self) -> list[tuple[Action, str]]:
        context = self.console.main.context
        found = []
        for action in ACTIONS:
            if action.id != "app.palette" and any(
                allowed(action, _in_pane(context, pane)) for pane in Pane
            ):
                keys = self.console.keymap[action.id]
                shown = f"  ({display(keys[0])})" if keys else ""
                found.append((action, f"{action.group}: {action.label}{shown}"))
        return found

    async def discover(self) -> Hits:
        for action, title in self._possible():
            yield DiscoveryHit(title, partial(self._run, action), help=action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action, title in self._possible():
            if score := matcher.match(f"{title} {action.help}"):
                yield Hit(
                    score, matcher.highlight(title), partial(self._run, action), help=action.help
                )

    def _run(self, action: Action) -> None:
        context = self.console.main.context
        pane = next(pane for pane in Pane if allowed(action, _in_pane(context, pane)))
        self.console.act(action, _in_pane(context, pane))


class Pods(_ConsoleProvider):
    """Go to a pod."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        table = self.console.main.pods
        for pod in table.rows:
            if score := matcher.match(pod.id):
                yield Hit(
                    score,
                    matcher.highlight(pod.id),
                    partial(table.select, pod.id),
                    help=str(condition.of_pod(pod)),
                )


def _in_pane(context: Context, pane: Pane) -> Context:
    return Context(
        pane=pane,
        pod=context.pod,
        container=context.container,
        process=context.process,
        marked=context.marked,
        read_only=context.read_only,
        connected=context.connected,
    )
