"""One stream of output, many listeners."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from vctui.companions.monitor.replay import Replay


class Listener(ABC):
    """Somebody who is attached."""

    @property
    @abstractmethod
    def is_behind(self) -> bool:
        """It has not taken what it was given; more would be dropped."""

    @abstractmethod
    def deliver(self, stream: int, data: bytes) -> None: ...

    @abstractmethod
    def finish(self) -> None:
        """Nothing more will come."""


class Fanout:
    """Keeps recent output and passes new output on.

    With `lossless`, `room` holds the producer back while a listener is behind, as a pipe would;
    otherwise a slow listener loses output, because a log must not wait for a terminal.
    """

    def __init__(self, replay_bytes: int, *, chunk_bytes: int = 0, lossless: bool = False) -> None:
        self._replay_bytes = replay_bytes
        # a lossless producer stops at replay_bytes, each of its two streams at most a chunk late
        self._replay = Replay(replay_bytes + (2 * chunk_bytes if lossless else 0))
        self._lossless = lossless
        self._listeners: set[Listener] = set()
        self._changed = asyncio.Event()
        self._joined = asyncio.Event()
        self._patience_over = False

    @property
    def is_lossless(self) -> bool:
        return self._lossless

    @property
    def was_joined(self) -> bool:
        return self._joined.is_set()

    def publish(self, stream: int, data: bytes) -> None:
        self._replay.add(stream, data)
        for listener in tuple(self._listeners):
            listener.deliver(stream, data)

    def join(self, listener: Listener, replay_bytes: int) -> None:
        """Deliver recent output and from now on all output.

        The first listener of a lossless stream gets all that is there: it may be just late.
        """
        if self._lossless and not self.was_joined:
            replay_bytes = len(self._replay)
        for stream, data in self._replay.recent(replay_bytes):
            listener.deliver(stream, data)
        self._listeners.add(listener)
        self._joined.set()

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        self.wake()

    def wake(self) -> None:
        """A listener may have caught up."""
        self._changed.set()

    async def room(self, patience: float) -> None:
        """Return when a lossless producer may go on; at once for the others.

        The first listener is waited for no longer than `patience` seconds in all.
        """
        if not self._lossless:
            return
        while any(listener.is_behind for listener in self._listeners):
            self._changed.clear()
            await self._changed.wait()
        if len(self._replay) >= self._replay_bytes and not self._patience_over:
            try:
                async with asyncio.timeout(patience):
                    await self._joined.wait()
            except TimeoutError:
                pass
            self._patience_over = True

    def recent(self) -> bytes:
        """What is kept for replay, of all streams."""
        return b"".join(data for _, data in self._replay.recent(len(self._replay)))

    def forget(self) -> None:
        """Drop what was kept for replay."""
        self._replay.clear()

    def finish(self) -> None:
        for listener in tuple(self._listeners):
            listener.finish()
        self._listeners.clear()
