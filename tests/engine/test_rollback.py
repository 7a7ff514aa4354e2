from __future__ import annotations

import pytest

from vctui.engine.rollback import Rollback


async def fail_after(*undos: object) -> None:
    async with Rollback() as rollback:
        for undo in undos:
            rollback.push(*undo)
        raise ValueError("the next step")


async def test_undos_run_in_reverse_order_when_a_step_fails():
    undone: list[int] = []

    async def undo(step: int) -> None:
        undone.append(step)

    with pytest.raises(ValueError, match="the next step"):
        await fail_after((undo, 1), (undone.append, 2))
    assert undone == [2, 1]


async def test_a_failing_undo_does_not_keep_the_others_from_running():
    undone: list[int] = []

    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(ValueError, match="the next step"):
        await fail_after((undone.append, 1), (fail,))
    assert undone == [1]


async def test_keep_makes_the_steps_permanent():
    undone: list[int] = []
    async with Rollback() as rollback:
        rollback.push(undone.append, 1)
        rollback.keep()
    assert undone == []
