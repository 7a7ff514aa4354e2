"""Two things at once fail as one and leave nothing running."""

from __future__ import annotations

import asyncio

import pytest

from vctui.engine.together import together
from vctui.errors import HostProblem


async def _give(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def test_both_results_come_in_their_order():
    assert await together(_give("a"), _give("b")) == ("a", "b")


@pytest.mark.parametrize("first", [True, False])
async def test_the_failure_of_one_ends_the_other_and_is_raised_as_it_is(first: bool):
    undone = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise HostProblem("no room")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            undone.append("waits")

    with pytest.raises(HostProblem, match="no room"):
        await (together(fails(), waits()) if first else together(waits(), fails()))
    assert undone == ["waits"]


async def test_a_cancellation_ends_both():
    undone = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            undone.append(name)

    task = asyncio.create_task(together(waits("a"), waits("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(undone) == ["a", "b"]
