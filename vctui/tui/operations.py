"""What is under way: long calls, their phase and how long they have taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from vctui.present.humanize import duration

_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    number: int
    label: str
    """What is done to what: `start hello`."""
    began: float
    """On a monotonic clock, seconds."""
    phase: str = ""

    def describe(self, now: float, *, frame: int) -> str:
        """One line for the status bar."""
        phase = f": {self.phase}" if self.phase else ""
        spinner = _FRAMES[frame % len(_FRAMES)]
        return f"{spinner} {self.label}{phase}  {duration(now - self.began)}"


class Operations:
    """Those under way, in the order of their beginning."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._running: dict[int, Operation] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, label: str, now: float) -> int:
        """Its number, for the calls below."""
        number = next(self._numbers)
        self._running[number] = Operation(number=number, label=label, began=now)
        return number

    def enter(self, number: int, phase: str) -> None:
        if number in self._running:
            self._running[number] = replace(self._running[number], phase=phase)

    def end(self, number: int) -> None:
        self._running.pop(number, None)

    @property
    def running(self) -> tuple[Operation, ...]:
        return tuple(self._running.values())
