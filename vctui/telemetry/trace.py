"""Where time goes: spans of code that are timed while somebody records, and cost nothing else.

    with trace.recording() as recorded:
        await runtime.run_pod(config)
    recorded.timeline("web", "run")

A recording is seen by the code that runs inside its block and by the tasks which that starts,
however many others run in the same process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar, Token
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from vctui.model.timeline import Step, Timeline

MAX_STEPS: Final = 10_000
"""Of one recording; what comes later is not kept."""


def clock() -> float:
    """Seconds since the host booted: what processes' start times count, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Recording:
    """The steps of what one block did."""

    def __init__(self, began: float) -> None:
        self.began = began
        """By `clock`."""
        self._steps: list[Step] = []

    def add(self, steps: Iterable[Step]) -> None:
        """Take steps whose beginnings are times of `clock`; those from before it are left out."""
        for step in steps:
            if step.begin >= self.began and len(self._steps) < MAX_STEPS:
                self._steps.append(msgspec.structs.replace(step, begin=step.begin - self.began))

    def timeline(self, pod_id: str, operation: str) -> Timeline:
        steps = sorted(self._steps, key=lambda step: (step.begin, step.depth))
        age = timedelta(seconds=clock() - self.began)
        return Timeline(
            pod_id=pod_id,
            operation=operation,
            began=datetime.now(UTC) - age,
            took=max((step.begin + step.took for step in steps), default=0.0),
            steps=tuple(steps),
        )


class _Place(NamedTuple):
    recording: Recording
    depth: int


_place: ContextVar[_Place | None] = ContextVar("vctui-trace", default=None)


@contextlib.contextmanager
def recording(began: float | None = None) -> Iterator[Recording]:
    """Record the spans of the block.

    Args:
        began: when what is measured began, by `clock`, where that was before the block.
    """
    recorded = Recording(clock() if began is None else began)
    token = _place.set(_Place(recorded, 0))
    try:
        yield recorded
    finally:
        _place.reset(token)


def current() -> Recording | None:
    """Who records here."""
    place = _place.get()
    return place.recording if place is not None else None


class span:  # noqa: N801 - it reads as a statement
    """`with span("start QEMU"):` - one step, also where it fails."""

    __slots__ = ("_begin", "_name", "_place", "_token")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._place = place = _place.get()
        if place is not None:
            self._token: Token[_Place | None] = _place.set(place._replace(depth=place.depth + 1))
            self._begin = clock()

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            took = clock() - self._begin
            _place.reset(self._token)
            step = Step(name=self._name, begin=self._begin, took=took, depth=self._place.depth)
            self._place.recording.add((step,))
