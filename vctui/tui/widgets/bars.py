"""The three bars: what there is (top), what happens (status), what can be done (keys)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from vctui.model.state import State
from vctui.present import condition
from vctui.present.humanize import plain
from vctui.tui.operations import Operation

if TYPE_CHECKING:
    from vctui.model.pod import PodStatus


def _sides(left: Content, right: Content, width: int) -> Content:
    """`left` and `right` at the two ends of one line; the left end gives way."""
    room = max(width - right.cell_length - 2, 0)
    if left.cell_length > room:
        left = left.truncate(room, ellipsis=True)
    gap = max(width - left.cell_length - right.cell_length, 0)
    return Content.assemble(left, " " * gap, right)


_PLAIN_RANK: Final = condition.of_state(State.RUNNING).rank
"""Below it are the conditions that are no state: being changed, stopped by a problem."""


def _counted(it: condition.Condition) -> str:
    return "failed" if it.role == "state-failed" else it.word


_ACCELERATORS: Final = {"kvm": "KVM", "tcg": "TCG (emulation)"}


class HeaderBar(Widget):
    """Product, how many pods are in which state, accelerator, mode."""

    counts: reactive[tuple[tuple[condition.Condition, int], ...]] = reactive(())
    """How many pods are in which condition."""
    accelerator: reactive[str] = reactive("")
    read_only: reactive[bool] = reactive(False)
    connected: reactive[bool] = reactive(False)

    def count(self, pods: Iterable[PodStatus]) -> None:
        counted = Counter(condition.of_pod(pod) for pod in pods)
        self.counts = tuple(
            sorted(counted.items(), key=lambda item: (item[0].rank < _PLAIN_RANK, item[0].rank))
        )

    def render(self) -> Content:
        left = Content.assemble((" vctui ", "bold $accent"), "  ", self._counts())
        parts: list[Content] = []
        if self.accelerator:
            parts.append(Content.styled(_ACCELERATORS[self.accelerator], "$muted"))
        if self.read_only:
            parts.append(Content.styled(" READ-ONLY ", "bold $background on $warning"))
        return _sides(left, Content("  ").join([*parts, Content(" ")]), self.size.width)

    def _counts(self) -> Content:
        if not self.connected:
            return Content.styled("opening…", "$muted")
        if not self.counts:
            return Content.styled("no pods", "$muted")
        if self.size.width < 100:
            return Content("  ").join(
                Content.styled(f"{it.symbol} {n}", f"${it.role}") for it, n in self.counts
            )
        return Content("   ").join(
            Content.assemble((f"{it.symbol} {n} ", f"${it.role}"), (_counted(it), "$muted"))
            for it, n in self.counts
        )


class StatusBar(Widget):
    """What is under way; when nothing is, the command line of what was done last."""

    operations: reactive[tuple[Operation, ...]] = reactive(())
    command: reactive[str] = reactive("")
    hint: reactive[str] = reactive("")
    """On the right: marks, filter."""

    def on_mount(self) -> None:
        self._frame = 0
        self._spin = self.set_interval(0.25, self._turn, pause=True)

    def watch_operations(self, operations: tuple[Operation, ...]) -> None:
        if operations:
            self._spin.resume()
        else:
            self._spin.pause()

    def _turn(self) -> None:
        self._frame += 1
        self.refresh()

    def render(self) -> Content:
        hint = Content.styled(f"{self.hint} " if self.hint else " ", "$muted")
        if self.operations:
            first, *others = self.operations
            text = plain(first.describe(monotonic(), frame=self._frame))
            more = f"   and {len(others)} more" if others else ""
            left = Content.assemble((f" {text}", "$state-busy"), (more, "$muted"))
        elif self.command:
            left = Content.assemble((" $ ", "$muted"), (plain(self.command), "$muted"))
        else:
            left = Content("")
        return _sides(left, hint, self.size.width)


class KeyHint(NamedTuple):
    key: str
    """As it is shown."""
    label: str
    action: str = ""
    """What a click does, as Textual spells it; from the view of what has the focus."""


class FooterBar(Widget):
    """The keys that do something now. A click does it too."""

    KEPT: ClassVar[int] = 2

    hints: reactive[tuple[KeyHint, ...]] = reactive(())
    """The most useful first; the last KEPT are never left out."""

    def render(self) -> Content:
        self._spans: list[tuple[int, int, str]] = []
        tail = self.hints[-self.KEPT :]
        room = self.size.width - sum(_width(hint) for hint in tail) - 1
        chosen = []
        for hint in self.hints[: -self.KEPT]:
            room -= _width(hint)
            if room < 0:
                break
            chosen.append(hint)
        parts: list[Content | tuple[str, str]] = []
        at = 0
        for hint in (*chosen, *tail):
            parts += [(f" {hint.key}", "bold $key"), (f" {hint.label} ", "$muted")]
            self._spans.append((at, at + _width(hint), hint.action))
            at += _width(hint)
        return Content.assemble(*parts)

    async def on_click(self, event: events.Click) -> None:
        for start, end, action in self._spans:
            if start <= event.x < end and action:
                await self.app.run_action(action, self.screen.focused or self.app)


def _width(hint: KeyHint) -> int:
    return cell_len(hint.key) + cell_len(hint.label) + 3
