"""One of a pod's logs, followed while it is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Vertical

from vctui.errors import VctuiError
from vctui.model.logs import LogLine, LogSource
from vctui.tui import workers
from vctui.tui.widgets.log_view import NOTE, LogView

if TYPE_CHECKING:
    from vctui.model.container import ContainerStatus
    from vctui.model.pod import PodStatus
    from vctui.tui.gateway import Gateway

TAIL: Final = 2000
"""Lines of the past that are shown."""


class LogTab(Vertical):
    def __init__(
        self,
        gateway: Gateway,
        source: LogSource,
        *,
        id: str | None = None,  # noqa: A002 - Textual's word
    ) -> None:
        super().__init__(id=id)
        self._gateway = gateway
        self._source = source
        self._shown: tuple[str, str] | None = None
        self.view = LogView()

    def compose(self) -> ComposeResult:
        yield self.view

    def show(self, pod: PodStatus | None, container: ContainerStatus | None) -> None:
        """Follow the log of this selection, unless it is being followed already."""
        if self.follows(pod, container):
            return
        self.release()
        self._shown = wanted = self._wanted(pod, container)
        if wanted is not None:
            workers.start(self, self._follow(*wanted), group="log")

    def follows(self, pod: PodStatus | None, container: ContainerStatus | None) -> bool:
        return self._wanted(pod, container) == self._shown

    def _wanted(
        self, pod: PodStatus | None, container: ContainerStatus | None
    ) -> tuple[str, str] | None:
        if pod is None:
            return None
        if self._source is not LogSource.CONTAINER:
            return pod.id, ""
        return (pod.id, container.id) if container is not None else None

    def release(self) -> None:
        """Follow nothing."""
        self._shown = None
        self.workers.cancel_node(self)
        self.view.clear()

    async def _follow(self, pod_id: str, container_id: str) -> None:
        try:
            stream = await self._gateway.logs(
                pod_id, self._source, container_id, tail=TAIL, follow=True
            )
            try:
                async for batch in stream.batches():
                    self.view.append(_with_gaps(batch))
            finally:
                stream.stop()
        except VctuiError as error:
            self.view.note(error.message)


def _with_gaps(batch: list[LogLine]) -> list[LogLine]:
    """The lines, and a note wherever some were left out."""
    if not any(line.skipped for line in batch):
        return batch
    shown: list[LogLine] = []
    for line in batch:
        if line.skipped:
            words = f"{line.skipped:,} lines came too fast to be shown here; the log has them"
            shown.append(LogLine(text=words.encode(), stream=NOTE))
        shown.append(line)
    return shown
