"""Spans are kept while somebody records, with their depth, and only then."""

from __future__ import annotations

import asyncio

import pytest

from vctui.model.timeline import Step
from vctui.telemetry import trace
from vctui.telemetry.trace import span


def names(recorded: trace.Recording) -> list[tuple[str, int]]:
    return [(step.name, step.depth) for step in recorded.timeline("web", "run").steps]


def test_parts_come_below_their_whole():
    with trace.recording() as recorded:
        with span("whole"):
            with span("first"):
                pass
            with span("second"):
                pass
        with span("after"):
            pass
    assert names(recorded) == [("whole", 0), ("first", 1), ("second", 1), ("after", 0)]
    timeline = recorded.timeline("web", "run")
    assert all(step.begin >= 0 and step.took >= 0 for step in timeline.steps)
    whole, *parts = timeline.steps[:3]
    assert whole.took >= sum(part.took for part in parts)
    assert timeline.took >= whole.took


def test_nothing_is_kept_where_nobody_records():
    with span("before"):
        pass
    with trace.recording() as recorded:
        pass
    with span("after"):
        pass
    assert trace.current() is None
    assert names(recorded) == []


def test_a_step_that_fails_is_kept_and_ends():
    with trace.recording() as recorded:
        with pytest.raises(ValueError, match="no"), span("fails"):
            raise ValueError("no")
        with span("next"):
            pass
    assert names(recorded) == [("fails", 0), ("next", 0)]


async def test_a_recording_is_its_own_tasks_and_nobody_elses():
    async def work(name: str) -> None:
        with span(name):
            await asyncio.sleep(0)

    async def recorded(name: str) -> list[tuple[str, int]]:
        with trace.recording() as mine, span(name):
            await asyncio.gather(work(f"{name}.a"), work(f"{name}.b"))
        return names(mine)

    one, two, _ = await asyncio.gather(recorded("one"), recorded("two"), work("unseen"))
    assert one == [("one", 0), ("one.a", 1), ("one.b", 1)]
    assert two == [("two", 0), ("two.a", 1), ("two.b", 1)]


def test_a_recording_may_begin_earlier_and_takes_nothing_from_before():
    began = trace.clock() - 5
    with trace.recording(began) as recorded:
        recorded.add(
            (
                Step(name="long ago", begin=began - 1, took=3.0),
                Step(name="start", begin=began + 1, took=2.0),
            )
        )
    timeline = recorded.timeline("web", "run")
    assert [(step.name, round(step.begin, 6)) for step in timeline.steps] == [("start", 1.0)]
    assert timeline.took == pytest.approx(3.0)


def test_a_recording_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace, "MAX_STEPS", 3)
    with trace.recording() as recorded:
        for number in range(10):
            with span(str(number)):
                pass
    assert names(recorded) == [("0", 0), ("1", 0), ("2", 0)]
