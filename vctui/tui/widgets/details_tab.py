"""Everything that is known of the selected pod and container."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from vctui.model.container import ContainerStatus
from vctui.model.pod import PodStatus
from vctui.present import details
from vctui.present.details import Section


class DetailsTab(VerticalScroll, can_focus=True):
    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._shown = Static()

    def compose(self) -> ComposeResult:
        yield self._shown

    def show(self, pod: PodStatus | None, container: ContainerStatus | None) -> None:
        now = datetime.now(UTC)
        sections: tuple[Section, ...] = ()
        if pod is not None:
            sections = details.pod(pod, now)
        if container is not None:
            sections += details.container(container, now)
        text = _text(sections) if sections else Content.styled("Nothing is selected.", "$muted")
        self._shown.update(text)


def _text(sections: Sequence[Section]) -> Content:
    width = max((len(field.label) for section in sections for field in section.fields), default=0)
    blocks = []
    for section in sections:
        lines = [Content.styled(section.title, "bold $accent")]
        for field in section.fields:
            role = f"${field.role}" if field.role else ""
            lines.append(
                Content.assemble((f"  {field.label:<{width}}  ", "$muted"), (field.value, role))
            )
        blocks.append(Content("\n").join(lines))
    return Content("\n\n").join(blocks)
