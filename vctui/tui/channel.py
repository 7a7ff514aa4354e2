"""A bounded one-way queue from one event loop to another, in another thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """`put` is called in the producer's loop, iteration and `stop` in the consumer's.

    The producer waits while `capacity` items lie there, so a slow screen slows its source down
    and memory stays bounded. The consumer gets everything that has gathered as one list: waking
    up costs once per batch, not per item.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._error: BaseException | None = None
        self._wake_consumer: Callable[[], None] | None = None
        self._wake_producer: Callable[[], None] | None = None

    async def put(self, item: T) -> bool:
        """Add an item when there is room. False once the consumer has left."""
        while True:
            with self._lock:
                if self._closed:
                    return False
                if len(self._items) < self._capacity:
                    self._items.append(item)
                    wake, self._wake_consumer = self._wake_consumer, None
                    break
                room, self._wake_producer = _alarm()
            await room.wait()
        if wake:
            wake()
        return True

    def close(self, error: BaseException | None = None) -> None:
        """No more items follow; the consumer gets what there is, then `error` if given.

        Callable from any thread.
        """
        with self._lock:
            self._closed, self._error = True, self._error or error
            wakes = (self._wake_consumer, self._wake_producer)
            self._wake_consumer = self._wake_producer = None
        for wake in wakes:
            if wake:
                wake()

    def stop(self) -> None:
        """The consumer leaves; the producer's next `put` returns False."""
        with self._lock:
            self._items.clear()
        self.close()

    async def batches(self) -> AsyncIterator[list[T]]:
        """Everything that has gathered, again and again until the end."""
        while True:
            with self._lock:
                batch, closed = list(self._items), self._closed
                self._items.clear()
                room, self._wake_producer = self._wake_producer, None
                if not batch and not closed:
                    news, self._wake_consumer = _alarm()
            if room:
                room()
            if batch:
                yield batch
            elif closed:
                if self._error is not None:
                    raise self._error
                return
            else:
                await news.wait()


def _alarm() -> tuple[asyncio.Event, Callable[[], None]]:
    """An event of this loop, and what sets it from another thread."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # A loop that has ended has nobody waiting any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    return event, wake
