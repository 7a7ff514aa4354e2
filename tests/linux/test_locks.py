"""Promises of locks: readers together, writers alone, over processes, deaths and deletions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from vctui.linux import locks

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def free(path) -> bool:
    """Whether nobody holds the lock."""
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


async def waiting(coroutine) -> asyncio.Task:
    """A task that has come to its wait for the lock."""
    task = asyncio.create_task(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def hold(context) -> None:
    async with context:
        pass


async def test_readers_hold_it_together(path):
    async with AsyncExitStack() as stack, asyncio.timeout(5):
        for _ in range(3):
            await stack.enter_async_context(locks.shared(path))
        async with locks.try_exclusive(path) as mine:
            assert not mine
    assert free(path)


async def test_a_writer_waits_for_readers_and_readers_for_a_writer(path):
    async with locks.shared(path):
        writer = await waiting(hold(locks.exclusive(path)))
    await asyncio.wait_for(writer, 5)
    async with locks.exclusive(path):
        reader = await waiting(hold(locks.shared(path)))
    await asyncio.wait_for(reader, 5)


async def test_try_exclusive_tells_at_once(path):
    async with locks.try_exclusive(path) as mine:
        assert mine
        async with locks.try_exclusive(path) as second:
            assert not second
        assert not free(path)
    assert free(path)


async def test_a_holder_that_dies_lets_go(path, holder):
    waiter = await waiting(hold(locks.exclusive(path)))
    holder.kill()
    await asyncio.wait_for(waiter, 5)


async def test_a_cancelled_wait_holds_nothing_later(path, holder):
    waiter = await waiting(hold(locks.exclusive(path)))
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    holder.kill()
    async with asyncio.timeout(5), locks.exclusive(path):
        assert not free(path)


async def test_a_lock_file_that_was_deleted_meanwhile_is_made_anew(path):
    async with locks.exclusive(path):
        waiter = await waiting(hold(locks.exclusive(path)))
        path.unlink()
    await asyncio.wait_for(waiter, 5)
    assert path.exists()


async def test_two_never_hold_it_although_it_is_deleted_again_and_again(path):
    inside = 0

    async def work():
        nonlocal inside
        for _ in range(20):
            async with locks.exclusive(path):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1
                path.unlink()

    async with asyncio.timeout(30):
        await asyncio.gather(*(work() for _ in range(4)))


async def test_the_lock_is_let_go_when_the_block_fails(path):
    with pytest.raises(RuntimeError):
        async with locks.exclusive(path):
            raise RuntimeError
    assert free(path)


def test_blocking_for_code_without_a_loop(path):
    with locks.exclusive_blocking(path):
        assert not free(path)
    assert free(path)


async def test_a_cancellation_that_meets_the_lock_lets_go_of_it(path, holder, monkeypatch):
    """The kernel has given us the lock, and the task is cancelled before it hears of it."""
    loop = asyncio.get_running_loop()
    tell = loop.call_soon_threadsafe
    task = await waiting(hold(locks.exclusive(path)))

    def tell_and_cancel(callback, *arguments):
        tell(lambda: (callback(*arguments), task.cancel()))

    monkeypatch.setattr(loop, "call_soon_threadsafe", tell_and_cancel)
    holder.kill()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert free(path)
