"""Where the time of the pod's last start went."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from vctui.errors import VctuiError
from vctui.model.timeline import Timeline
from vctui.present import timeline

if TYPE_CHECKING:
    from vctui.model.pod import PodStatus
    from vctui.tui.gateway import Gateway


_FIGURES: Final = 19
"""Columns of what stands between label and picture."""


class TimelineTab(VerticalScroll, can_focus=True):
    """Read once for each start of the pod."""

    def __init__(self, gateway: Gateway, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._gateway = gateway
        self._shown = Static()
        self._asked: tuple[str, datetime | None] | None = None
        self._found: Timeline | None = None

    def compose(self) -> ComposeResult:
        yield self._shown

    def show(self, pod: PodStatus | None) -> None:
        if pod is None:
            self._asked = self._found = None
            self._shown.update(Content.styled("Nothing is selected.", "$muted"))
            return
        wanted = (pod.id, pod.start_time)
        if wanted != self._asked:
            self._asked = wanted
            self.run_worker(self._read(pod.id), exclusive=True, group="timeline")

    async def _read(self, pod_id: str) -> None:
        try:
            self._found = await self._gateway.timeline(pod_id)
        except VctuiError as error:
            self._shown.update(Content.styled(error.message, "$warning"))
            return
        if self._found is not None:
            self._paint(self._found)
            return
        words = (
            f"The last start of {pod_id} was not recorded. Start it from here, or with "
            f"vctui pod start {pod_id} --trace."
        )
        self._shown.update(Content.styled(words, "$muted"))

    def on_resize(self) -> None:
        if self._found is not None:
            self._paint(self._found)

    def _paint(self, found: Timeline) -> None:
        self._shown.update(_text(found, self.scrollable_content_region.width))


def _text(found: Timeline, room: int) -> Content:
    rows = timeline.rows(found)
    width = max((len(row.label) for row in rows), default=0)
    bar = min(room - width - _FIGURES, timeline.BAR)
    rows = timeline.rows(found, bar)
    head = Content.styled(f"{found.operation}: {timeline.milliseconds(found.took)}", "bold $accent")
    lines = [
        Content.assemble(
            f"{row.label:<{width}}",
            (f"  {row.step.where.value:<5}", "$muted"),
            f"  {timeline.milliseconds(row.step.took):>8}",
            (f"  {row.bar}".rstrip(), "$state-running"),
        )
        for row in rows
    ]
    return Content("\n").join((head, *lines))
