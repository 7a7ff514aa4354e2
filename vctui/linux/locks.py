"""Reader/writer file locks between processes, by flock(2).

The kernel lets go of a lock when its holder dies, so none is ever stale.
A lock file may be deleted by who holds it exclusively: those who wait notice and begin anew.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path


@asynccontextmanager
async def shared(path: Path) -> AsyncIterator[None]:
    """Hold the lock together with other readers; waits for a writer to leave."""
    held = await _acquire(path, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(held)


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold the lock alone; waits for everybody to leave. The holder may delete the file."""
    held = await _acquire(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(held)


@asynccontextmanager
async def try_exclusive(path: Path) -> AsyncIterator[bool]:
    """Like `exclusive`, but yields False at once where somebody else holds the lock."""
    held = _open(path)
    try:
        yield _flock(held, fcntl.LOCK_EX) and _is_current(held, path)
    finally:
        os.close(held)


@contextmanager
def exclusive_blocking(path: Path) -> Iterator[None]:
    """Like `exclusive`, for code without an event loop that holds the lock for an instant."""
    while True:
        held = _open(path)
        fcntl.flock(held, fcntl.LOCK_EX)
        if _is_current(held, path):
            break
        os.close(held)
    try:
        yield
    finally:
        os.close(held)


async def _acquire(path: Path, operation: int) -> int:
    """A descriptor that holds the lock until it is closed."""
    while True:
        held = _open(path)
        if not _flock(held, operation):
            await _wait(held, operation)  # closes it where it fails
        if _is_current(held, path):
            return held
        os.close(held)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _flock(fd: int, operation: int) -> bool:
    """Try to lock without waiting."""
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(fd: int, path: Path) -> bool:
    """Whether the locked file still is the one that others will open."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


async def _wait(fd: int, operation: int) -> None:
    """flock(2) in a thread of its own.

    A daemon thread, so that neither Ctrl-C nor the end of the program waits for it.
    Without success `fd` is closed, after a cancellation as soon as the kernel lets us.
    """
    loop = asyncio.get_running_loop()
    locked: asyncio.Future[None] = loop.create_future()

    def settle(failure: OSError | None) -> None:
        if failure is None and not locked.cancelled():
            locked.set_result(None)
            return
        os.close(fd)
        if failure is not None and not locked.cancelled():
            locked.set_exception(failure)

    def block() -> None:
        failure = None
        try:
            fcntl.flock(fd, operation)
        except OSError as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: the program ends, and the lock with it
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=block, name="flock", daemon=True).start()
    try:
        await locked
    except asyncio.CancelledError:
        if locked.done() and not locked.cancelled() and locked.exception() is None:
            os.close(fd)  # we were cancelled after the lock was ours and before we could go on
        raise
