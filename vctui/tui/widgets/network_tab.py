"""The pod's interfaces, addresses and routes, the traffic of the last minutes, forwarded ports."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from vctui.errors import VctuiError
from vctui.present import details
from vctui.present.traffic import Meter, rate, sparkline
from vctui.tui import workers

if TYPE_CHECKING:
    from vctui.model.network import PodNetwork
    from vctui.model.pod import PodStatus
    from vctui.tui.gateway import Gateway

INTERVAL: Final = 1.0
"""Seconds between two samples."""
_GROUP: Final = "traffic"
_INDENT: Final = 2
_RATE: Final = 12
"""Columns of a rate: `1023.0 KiB/s` and no more."""


class NetworkTab(VerticalScroll, can_focus=True):
    """Samples only while it is shown; written anew in place."""

    def __init__(self, gateway: Gateway, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._gateway = gateway
        self._shown = Static()
        self._pod: PodStatus | None = None
        self._followed = ""
        """The pod that is looked at again and again."""
        self._meter = Meter()

    def compose(self) -> ComposeResult:
        yield self._shown

    def show(self, pod: PodStatus | None) -> None:
        """The selection, or something about it, has changed."""
        self._pod = pod
        wanted = pod.id if pod is not None else ""
        if not wanted:
            self.release()
        elif wanted != self._followed:
            self._followed = wanted
            workers.start(self, self._follow(wanted), group=_GROUP)
        self._write()

    def release(self) -> None:
        """Nobody looks any more."""
        if self._followed:
            self._followed = ""
            self.workers.cancel_group(self, _GROUP)

    def on_resize(self) -> None:
        self._write()

    async def _follow(self, pod_id: str) -> None:
        meter = self._meter = Meter()
        while True:
            if self._pod is not None and self._pod.network is not None:
                with suppress(VctuiError):  # it is gone; the next snapshot says so
                    meter.sample(monotonic(), await self._gateway.traffic(pod_id))
            self._write()
            await asyncio.sleep(INTERVAL)

    def _write(self) -> None:
        pod = self._pod
        if pod is None:
            self._shown.update(Content.styled("Nothing is selected.", "$muted"))
        elif pod.network is None:
            none = Content.styled(f"{pod.id} has no network now.", "$muted")
            self._shown.update(Content("\n").join([none, *self._forwarded(pod)]))
        else:
            blocks = [*self._interfaces(pod.network), *self._rest(pod, pod.network)]
            self._shown.update(Content("\n\n").join(blocks))

    def _interfaces(self, network: PodNetwork) -> list[Content]:
        sections = details.pod_network(network)[:-1]
        blocks = []
        for endpoint, section in zip(network.endpoints, sections, strict=True):
            lines = [_title(section.title)]
            if endpoint.tap:  # what else there is the host cannot count
                rates = self._meter.rates(endpoint.interface.name)
                lines.append(self._rate("received", rates.received, "state-running"))
                lines.append(self._rate("sent", rates.sent, "accent"))
            blocks.append(Content("\n").join([*lines, *_fields(section)]))
        return blocks

    def _rate(self, label: str, values: tuple[float, ...], role: str) -> Content:
        indent = f"{' ' * _INDENT}{label:<{_LABEL}}  "
        words = rate(values[-1]) if values else "-"
        room = self.size.width - len(indent) - _RATE - 2 - 2
        return Content.assemble(
            (indent, "$muted"), f"{words:>{_RATE}}  ", (sparkline(values, room), f"${role}")
        )

    def _rest(self, pod: PodStatus, network: PodNetwork) -> list[Content]:
        section = details.pod_network(network)[-1]
        return [
            Content("\n").join([_title(section.title), *_fields(section), *self._forwarded(pod)])
        ]

    def _forwarded(self, pod: PodStatus) -> list[Content]:
        bound = [
            one for each in self._gateway.forwarded if each.pod_id == pod.id for one in each.bound
        ]
        lines = []
        for number, one in enumerate(bound):
            label = "forwarded" if number == 0 else ""
            where = f"{one.where} → {one.pod_port}"
            lines.append(Content.assemble((f"  {label:<{_LABEL}}  ", "$muted"), where))
        return lines


_LABEL: Final = len("hardware address")


def _title(text: str) -> Content:
    return Content.styled(text, "bold $accent")


def _fields(section: details.Section) -> list[Content]:
    return [
        Content.assemble((f"  {field.label:<{_LABEL}}  ", "$muted"), field.value)
        for field in section.fields
    ]
