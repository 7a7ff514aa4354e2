from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from vctui.guest.loop import READ, Cancelled, Future, Loop, Queue, TimedOut


@pytest.fixture
def loop() -> Iterator[Loop]:
    raised: list[BaseException] = []
    loop = Loop(raised.append)
    yield loop
    loop.close()
    assert not raised, raised


def test_a_task_gives_what_its_coroutine_returns_or_raises(loop: Loop) -> None:
    async def fine() -> int:
        await loop.sleep(0)
        return 7

    async def broken() -> None:
        await loop.start(fine())
        raise KeyError("x")

    assert loop.run_until(loop.start(fine())) == 7
    with pytest.raises(KeyError):
        loop.run_until(loop.start(broken()))


def test_timers_fire_in_order_and_not_when_cancelled(loop: Loop) -> None:
    fired: list[str] = []
    end = Future()
    loop.later(0.02, end.succeed)
    loop.later(0.01, lambda: fired.append("second"))
    loop.later(0.0, lambda: fired.append("first"))
    loop.later(0.005, lambda: fired.append("never")).cancel()
    loop.run_until(end)
    assert fired == ["first", "second"]


def test_a_cancelled_task_is_told_where_it_waits(loop: Loop) -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await Future()
        finally:
            seen.append("cleaned up")

    task = loop.start(waits())
    loop.later(0.001, task.cancel)
    with pytest.raises(Cancelled):
        loop.run_until(task)
    task.cancel()
    assert seen == ["cleaned up"]


def test_within_leaves_what_it_waits_for_running(loop: Loop) -> None:
    slow = Future()

    async def impatient() -> str:
        with pytest.raises(TimedOut):
            await loop.within(0.001, slow)
        slow.succeed("done")
        return await loop.within(0.001, slow)

    assert loop.run_until(loop.start(impatient())) == "done"


def test_a_descriptor_wakes_its_waiter_only(loop: Loop) -> None:
    read_end, write_end = os.pipe()

    async def reads() -> bytes:
        await loop.ready(read_end, READ)
        return os.read(read_end, 10)

    task = loop.start(reads())
    loop.later(0, lambda: os.write(write_end, b"x") and None)
    assert loop.run_until(task) == b"x"
    os.close(read_end)
    os.close(write_end)


def test_a_queue_lets_one_in_after_the_other(loop: Loop) -> None:
    queue = Queue()
    order: list[str] = []
    gate = Future()

    async def enter(name: str) -> None:
        async with queue:
            order.append(name)
            await gate

    first, second, third = (loop.start(enter(name)) for name in ("first", "second", "third"))
    loop.later(0.001, second.cancel)
    loop.later(0.002, gate.succeed)
    loop.run_until(third)
    assert order == ["first", "third"]
    assert first.done
    assert isinstance(second.error, Cancelled)


def test_a_callback_that_raises_is_reported_and_the_loop_goes_on() -> None:
    raised: list[BaseException] = []
    loop = Loop(raised.append)
    end = Future()
    loop.soon(lambda: 1 / 0)
    loop.soon(end.succeed)
    loop.run_until(end)
    loop.close()
    assert [type(error) for error in raised] == [ZeroDivisionError]
