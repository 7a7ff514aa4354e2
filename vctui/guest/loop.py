"""An event loop for native coroutines, on epoll.

asyncio costs half a second of emulated time before the agent can answer; this is the part of it
that the agent needs. `_collections` and `_signal` are what `collections` and `signal` wrap:
the wrappers import enum and with it another tenth of a second.
"""

from __future__ import annotations

import os
import select
import time
from heapq import heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections import deque
    from collections.abc import Callable, Coroutine, Generator
    from typing import Any
else:
    import _signal as signal
    from _collections import deque

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
PRIORITY = select.EPOLLPRI
EDGE = select.EPOLLET


class Cancelled(BaseException):
    """Thrown into a coroutine whose task was cancelled."""


class TimedOut(Exception):
    """`Loop.within` ran out of time."""


class Future:
    """A result to come. Awaiting it waits; any number may."""

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future], None]] = []

    def succeed(self, value: Any = None) -> None:
        """Set the result; later calls do nothing."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Set the error; later calls do nothing."""
        if not self.done:
            self._error = error
            self._finish()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    @property
    def error(self) -> BaseException | None:
        return self._error

    def then(self, callback: Callable[[Future], None]) -> None:
        """Call `callback` when the result is there, at once if it is."""
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def forget(self, callback: Callable[[Future], None]) -> None:
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def _finish(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def __await__(self) -> Generator[Future, None, Any]:
        if not self.done:
            yield self
        return self.result()


class Task(Future):
    """A coroutine that runs, as the future of what it returns."""

    def __init__(self, loop: Loop, coroutine: Coroutine[Any, Any, Any]) -> None:
        super().__init__()
        self._loop = loop
        self._coroutine = coroutine
        self._waits_for: Future | None = None
        self._cancelled = False
        loop.soon(self._step)

    def cancel(self) -> None:
        """Throw Cancelled into the coroutine where it waits."""
        if self.done or self._cancelled:
            return
        self._cancelled = True
        if self._waits_for is not None:
            self._waits_for.forget(self._wake)
            self._waits_for = None
            self._loop.soon(self._step)

    def _wake(self, _: Future) -> None:
        self._waits_for = None
        self._loop.soon(self._step)

    def _step(self) -> None:
        if self.done:
            return
        try:
            if self._cancelled:
                waits_for = self._coroutine.throw(Cancelled())
            else:
                waits_for = self._coroutine.send(None)
        except StopIteration as stop:
            self.succeed(stop.value)
        except BaseException as error:
            self.fail(error)
        else:
            self._cancelled = False
            self._waits_for = waits_for
            waits_for.then(self._wake)


class Loop:
    """Callbacks when descriptors are ready, when time has come, when children ended."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        """Told of what a callback raised; the loop goes on."""
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._ready: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = 0
        self._running = False

    def run(self) -> None:
        """Until `stop`."""
        self._running = True
        while self._running:
            self._turn()

    def run_until(self, future: Future) -> Any:
        """Run until `future` is done; gives its result."""
        while not future.done:
            self._turn()
        return future.result()

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self._epoll.close()

    def soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._ready.append((callback, arguments))

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self._order += 1
        timer = Timer(callback)
        heappush(self._timers, (time.monotonic() + seconds, self._order, timer))
        return timer

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Task:
        return Task(self, coroutine)

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` when `fd` is ready; replaces an earlier watch of it."""
        if fd in self._watched:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def ready(self, fd: int, events: int) -> None:
        """Wait until `fd` is ready (or at its end); one waiter for each descriptor."""
        future = Future()
        self.watch(fd, events, future.succeed)
        try:
            await future
        finally:
            self.unwatch(fd)

    async def sleep(self, seconds: float) -> None:
        future = Future()
        timer = self.later(seconds, future.succeed)
        try:
            await future
        finally:
            timer.cancel()

    async def within(self, seconds: float, awaited: Future) -> Any:
        """The result of `awaited`, which goes on when we do not.

        Raises:
            TimedOut: it takes longer than `seconds`.
        """
        first = Future()
        timer = self.later(seconds, first.succeed)
        awaited.then(first.succeed)
        try:
            await first
        finally:
            timer.cancel()
            awaited.forget(first.succeed)
        if not awaited.done:
            raise TimedOut
        return awaited.result()

    def watch_children(self, callback: Callable[[], None]) -> None:
        """Call `callback` after children ended; several ends may come as one call."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

        def drain(_events: int) -> None:
            os.read(read_end, 4096)
            callback()

        self.watch(read_end, READ, drain)

    def _turn(self) -> None:
        while self._timers and self._timers[0][2].cancelled:
            heappop(self._timers)
        wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
        for fd, events in self._epoll.poll(0 if self._ready else wait):
            watcher = self._watched.get(fd)
            if watcher is not None:
                self._call(watcher, events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._call(heappop(self._timers)[2].fire)
        for _ in range(len(self._ready)):
            callback, arguments = self._ready.popleft()
            self._call(callback, *arguments)

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            self._report(error)


class Timer:
    """What `Loop.later` gives."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Queue:
    """Coroutines take turns: `async with queue:` runs bodies one after the other, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Future] = deque()
        self._busy = False

    async def __aenter__(self) -> None:
        if not self._busy:
            self._busy = True
            return
        turn = Future()
        self._waiting.append(turn)
        try:
            await turn
        except Cancelled:
            if turn.done:
                self._next()
            else:
                self._waiting.remove(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._next()

    def _next(self) -> None:
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._busy = False
