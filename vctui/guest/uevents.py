"""Waiting for devices: the kernel announces them, so that nobody need look again and again."""

from __future__ import annotations

import time

from vctui.guest.loop import READ, Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from vctui.guest.loop import Loop

    T = TypeVar("T")

_KOBJECT_UEVENT = 15
_FROM_THE_KERNEL = 1
_UNTOLD = 0.25
"""Seconds after which one looks all the same: an announcement may be lost when many come."""


class Uevents:
    """Listens from its making to its end, so that nothing between a look and the wait is missed."""

    def __init__(self, loop: Loop) -> None:
        import _socket  # what the much larger `socket` wraps

        self._loop = loop
        self._woken = Future()
        kind = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, _KOBJECT_UEVENT)
        self._socket.bind((0, _FROM_THE_KERNEL))
        loop.watch(self._socket.fileno(), READ, self._drain)

    async def heard(self) -> None:
        """Return after the next announcement, however long that takes."""
        await self._woken
        self._woken = Future()

    async def announced(self, seconds: float) -> bool:
        """Return after the next announcement, or soon; False when `seconds` are over."""
        if not self._woken.done:
            timer = self._loop.later(min(seconds, _UNTOLD), self._woken.succeed)
            await self._woken
            timer.cancel()
        self._woken = Future()
        return seconds > 0

    def close(self) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def __enter__(self) -> Uevents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drain(self, _events: int) -> None:
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: some were lost, which is an announcement too
            pass
        self._woken.succeed()


async def appears(
    loop: Loop, look: Callable[[], T | None], patience: float = float("inf")
) -> T | None:
    """What `look` finds, as soon as it finds anything; None after `patience` seconds."""
    if (found := look()) is not None:
        return found
    until = time.monotonic() + patience
    with Uevents(loop) as events:
        while (found := look()) is None:
            if not await events.announced(until - time.monotonic()):
                return None
    return found
