"""From one thread's loop to another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from vctui.tui.channel import Channel


@pytest.fixture
def elsewhere() -> Any:
    """Runs coroutines on a loop in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def submit(work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    yield submit
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


Submit = Callable[[Coroutine[Any, Any, Any]], "asyncio.Future[Any]"]


async def test_everything_arrives_in_order(elsewhere: Submit) -> None:
    channel: Channel[int] = Channel(10)

    async def produce() -> None:
        for number in range(5000):
            assert await channel.put(number)
        channel.close()

    producing = elsewhere(produce())
    got = [item async for batch in channel.batches() for item in batch]
    await producing
    assert got == list(range(5000))


async def test_the_producer_waits_for_a_slow_consumer(elsewhere: Submit) -> None:
    channel: Channel[int] = Channel(3)
    produced = []

    async def produce() -> None:
        for number in range(10):
            await channel.put(number)
            produced.append(number)
        channel.close()

    producing = elsewhere(produce())
    sizes = []
    async for batch in channel.batches():
        sizes.append(len(batch))
        assert len(produced) <= sum(sizes) + 3
    await producing
    assert max(sizes) <= 3
    assert sum(sizes) == 10


async def test_an_error_comes_after_what_was_there(elsewhere: Submit) -> None:
    channel: Channel[int] = Channel(3)

    async def produce() -> None:
        await channel.put(1)
        channel.close(ValueError("the end"))

    await elsewhere(produce())
    got = []

    async def consume() -> None:
        async for batch in channel.batches():
            got.extend(batch)

    with pytest.raises(ValueError, match="the end"):
        await consume()
    assert got == [1]


async def test_a_producer_is_let_go_when_the_consumer_leaves(elsewhere: Submit) -> None:
    channel: Channel[int] = Channel(1)

    async def produce() -> bool:
        while await channel.put(1):
            pass
        return True

    producing = elsewhere(produce())
    async for _ in channel.batches():
        channel.stop()
    assert await asyncio.wait_for(producing, 5)


async def test_closing_after_the_producers_loop_has_ended_is_harmless() -> None:
    channel: Channel[int] = Channel(1)

    def run() -> None:
        async def fill() -> None:
            await channel.put(1)
            blocked = asyncio.create_task(channel.put(2))
            await asyncio.sleep(0)
            blocked.cancel()

        asyncio.run(fill())

    await asyncio.to_thread(run)
    channel.stop()
