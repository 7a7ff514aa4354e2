"""Samples of traffic → rates, and pictures of them one line high. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from vctui.model.pod import PodStatus
from vctui.model.state import LIVE
from vctui.model.traffic import Traffic
from vctui.present.humanize import plain, size

KEPT: Final = 120
"""Rates of one interface that are remembered."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_PICTURE: Final = 16
_IDLE: Final = 1024.0
"""Bytes a second; where nothing was quicker than that, a picture's height is this."""


class Rates(NamedTuple):
    """Bytes a second, the oldest first."""

    received: tuple[float, ...]
    sent: tuple[float, ...]


class Meter:
    """Keeps the rates of a pod's interfaces, one for each two samples."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Traffic]] = {}
        self._rates: dict[str, tuple[deque[float], deque[float]]] = {}

    def sample(self, now: float, found: Iterable[Traffic]) -> None:
        """Take up counters of the moment `now` (seconds of any clock). An interface whose
        counters went back (the pod was started anew) begins again."""
        there = {}
        for one in found:
            there[one.interface] = (now, one)
            before, was = self._last.get(one.interface, (now, one))
            received, sent = self._rates.setdefault(
                one.interface, (deque(maxlen=KEPT), deque(maxlen=KEPT))
            )
            if one.received < was.received or one.sent < was.sent:
                received.clear()
                sent.clear()
            elif now > before:
                received.append((one.received - was.received) / (now - before))
                sent.append((one.sent - was.sent) / (now - before))
        self._last = there

    def rates(self, interface: str) -> Rates:
        received, sent = self._rates.get(interface, ((), ()))
        return Rates(tuple(received), tuple(sent))


def rate(value: float) -> str:
    """`1.5 MiB/s`."""
    return f"{size(value)}/s"


def line(interface: str, rates: Rates) -> str:
    """What went through an interface in the last second, and a picture of the time before; ""
    until there are two samples."""
    if not rates.received:
        return ""
    shown = f"{plain(interface):<8}"
    for word, values in (("received", rates.received), ("sent", rates.sent)):
        shown += f"  {word} {rate(values[-1]):>12} {sparkline(values, _PICTURE):<{_PICTURE}}"
    return shown.rstrip()


def no_network(status: PodStatus) -> str:
    """Why nothing is shown of a pod's network."""
    if status.state in LIVE:
        return f"pod {status.id} has no network"
    return f"pod {status.id} is {status.state} and has no network now"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values, the highest at full height; a value above nothing is always seen,
    and where there are fewer values the picture is shorter."""
    shown = values[-width:] if width > 0 else ()
    top = max((*shown, _IDLE))
    return "".join(_bar(value, top) for value in shown)


def _bar(value: float, top: float) -> str:
    if value <= 0:
        return " "
    return _BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)]
