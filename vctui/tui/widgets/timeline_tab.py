"""Where the time of the pod's last start went."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

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


class TimelineTab(VerticalScroll, can_focus=True):
    """Read once for each start of the pod."""

    def __init__(self, gateway: Gateway, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._gateway = gateway
        self._shown = Static()
        self._asked: tuple[str, datetime | None] | None = None

    def compose(self) -> ComposeResult:
        yield self._shown

    def show(self, pod: PodStatus | None) -> None:
        if pod is None:
            self._asked = None
            self._shown.update(Content.styled("Nothing is selected.", "$muted"))
            return
        wanted = (pod.id, pod.start_time)
        if wanted != self._asked:
            self._asked = wanted
            self.run_worker(self._read(pod.id), exclusive=True, group="timeline")

    async def _read(self, pod_id: str) -> None:
        try:
            found = await self._gateway.timeline(pod_id)
        except VctuiError as error:
            self._shown.update(Content.styled(error.message, "$warning"))
            return
        self._shown.update(_text(found, pod_id))


def _text(found: Timeline | None, pod_id: str) -> Content:
    if found is None:
        return Content.styled(
            f"The last start of {pod_id} was not recorded. Start it from here, or with "
            f"vctui pod start {pod_id} --trace.",
            "$muted",
        )
    rows = timeline.rows(found)
    width = max((len(row.label) for row in rows), default=0)
    head = Content.styled(f"{found.operation}: {timeline.milliseconds(found.took)}", "bold $accent")
    lines = [
        Content.assemble(
            (f"{row.label:<{width}}  ", ""),
            (f"{row.step.where.value:<5}  ", "$muted"),
            (f"{timeline.milliseconds(row.step.took):>9}  ", ""),
            (row.bar, "$state-running"),
        )
        for row in rows
    ]
    return Content("\n").join((head, *lines))
