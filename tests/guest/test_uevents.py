"""What is waited for is looked at when the kernel announces something, and given up in time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from vctui.guest.loop import Loop
from vctui.guest.uevents import Uevents, appears


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(lambda error: pytest.fail(str(error)))
    yield made
    made.close()


def test_what_is_there_needs_no_announcement(loop: Loop):
    assert loop.run_until(loop.start(appears(loop, lambda: "there"))) == "there"


def test_it_is_looked_at_again_after_each_announcement(loop: Loop):
    looks: list[float] = []

    def look() -> int | None:
        looks.append(time.monotonic())
        return len(looks) if len(looks) == 3 else None

    assert loop.run_until(loop.start(appears(loop, look))) == 3
    assert looks[2] - looks[1] < 5


def test_what_does_not_come_is_given_up(loop: Loop):
    begin = time.monotonic()
    assert loop.run_until(loop.start(appears(loop, lambda: None, 0.05))) is None
    assert time.monotonic() - begin >= 0.05


def test_an_announcement_between_look_and_wait_is_not_missed(loop: Loop):
    async def wait() -> bool:
        with Uevents(loop) as events:
            events._drain(0)  # as the loop calls it when the kernel has spoken
            begin = time.monotonic()
            told = await events.announced(100)
            assert time.monotonic() - begin < 0.2
            return told

    assert loop.run_until(loop.start(wait())) is True
