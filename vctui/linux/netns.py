"""Network namespaces: make one that a path keeps alive, do something in one, take it away.

A namespace belongs to a thread. Whatever is done in another one is done in a thread that lives
no longer than that, so that none of ours is ever left in the wrong place.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from vctui.linux import mounts
from vctui.linux.ioctls import interface_up

if TYPE_CHECKING:
    import ctypes

_CLONE_NEWNET: Final = 0x40000000
_NS_GET_NSTYPE: Final = 0xB703
_OWN: Final = "/proc/thread-self/ns/net"

P = ParamSpec("P")
T = TypeVar("T")


def create(path: Path) -> None:
    """Make a namespace with its loopback up; `path` is a file then that stands for it.

    Raises:
        OSError: EPERM where not root; FileExistsError. Nothing is left then.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o600))

    def work() -> None:
        _check(_libc().unshare(_CLONE_NEWNET), path)
        interface_up("lo")
        mounts.mount(_OWN, str(path), options=("bind",))

    try:
        _in_thread(work)
    except BaseException:
        path.unlink()
        raise


def remove(path: Path) -> None:
    """Take the namespace's path away; it goes when nobody is in it any more. Idempotent."""
    while mounts.unmount(path):
        pass
    path.unlink(missing_ok=True)


def is_namespace(path: Path) -> bool:
    """Whether `path` stands for a network namespace.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            return fcntl.ioctl(file, _NS_GET_NSTYPE) == _CLONE_NEWNET
        except OSError as error:
            if error.errno == errno.ENOTTY:
                return False
            raise


def is_own(path: Path) -> bool:
    """Whether it is the namespace that we are in ourselves. Raises OSError."""
    return path.samefile(_OWN)


def inside(path: Path, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives when it is called in the namespace, in a thread of its own.

    Raises:
        OSError: the namespace cannot be entered; and whatever `work` raises.
    """

    def entered() -> T:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc().setns(target, _CLONE_NEWNET), path)
        finally:
            os.close(target)
        return work(*args, **kwargs)

    return _in_thread(entered)


def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `inside`, in a namespace with nothing in it, which goes with the processes that `work`
    starts. Raises OSError: EPERM where not root."""

    def separated() -> T:
        _check(_libc().unshare(_CLONE_NEWNET), Path(_OWN))
        return work(*args, **kwargs)

    return _in_thread(separated)


async def call(path: Path, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `inside`, without blocking the loop. When cancelled it returns only after `work` has:
    what undoes it must not meet it."""
    running = asyncio.create_task(asyncio.to_thread(lambda: inside(path, work, *args, **kwargs)))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()
        raise


async def session(path: Path, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As `call`, for a coroutine, which gets a loop of its own: processes that it starts are in
    the namespace. It is cancelled when we are."""
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []
    cancelled = False

    async def main() -> T:
        task = asyncio.ensure_future(work())
        tasks.append((asyncio.get_running_loop(), task))
        if cancelled:
            task.cancel()
        return await task

    running = asyncio.create_task(
        asyncio.to_thread(lambda: inside(path, lambda: asyncio.run(main())))
    )
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancelled = True
        for loop, task in tasks:
            with contextlib.suppress(RuntimeError):  # it may have come to its end just now
                loop.call_soon_threadsafe(task.cancel)
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()
        raise


@contextlib.contextmanager
def occupied(path: Path) -> Iterator[int]:
    """A process that does nothing but be in the namespace, for others to find it by; it ends with
    us. Raises OSError."""
    keeper = inside(
        path, subprocess.Popen, ["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with keeper:
        try:
            yield keeper.pid
        finally:
            keeper.kill()


def _in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised by who waits
            failures.append(error)

    thread = threading.Thread(target=target, name="netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _check(result: int, path: Path) -> None:
    if result != 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def _libc() -> ctypes.CDLL:
    import ctypes  # which most machines need not

    return ctypes.CDLL(None, use_errno=True)
