"""A process's standard streams as the protocol sees them (sheet §7.1).

Data stay in the kernel's pipe or terminal until somebody asks for them, so a process that writes
faster than the host reads is slowed down, and memory stays bounded.
"""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest.loop import READ, WRITE, Future, Queue
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vctui.guest.loop import Loop

MAX_READ = 1024 * 1024
_DEFAULT_READ = 64 * 1024


class Output:
    """What a process writes to a pipe or to its terminal."""

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._turns = Queue()
        self._woken = Future()
        self._cut = False
        self._given = b""
        self._given_to = 0
        self._kept = b""

    async def read(self, size: int, connection: int) -> bytes:
        """Up to `size` bytes, waiting for the first; b"" at the end.

        What was given last may have been lost with the connection that it was given to;
        so when the next reader is on another `connection`, it is given again (at least once).
        """
        size = min(size, MAX_READ) or _DEFAULT_READ
        async with self._turns:
            if self._given and connection != self._given_to:
                data = self._given + self._kept
            else:
                self._given = b""
                data = self._kept or await self._next(size)
            self._given, self._kept, self._given_to = data[:size], data[size:], connection
            return self._given

    def cut(self) -> None:
        """Take the end of what is there already as the end, though others hold the stream open."""
        self._cut = True
        self._woken.succeed()

    def close(self) -> None:
        self.cut()
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1

    def rest(self, size: int = 4096) -> bytes:
        """What can be read without waiting, at most `size` bytes."""
        try:
            return os.read(self._fd, size) if self._fd >= 0 else b""
        except OSError:
            return b""

    async def _next(self, size: int) -> bytes:
        while self._fd >= 0:
            try:
                data = os.read(self._fd, size)
            except BlockingIOError:
                data = b""
                if not self._cut:
                    await self._readable()
                    continue
            except OSError:  # EIO: nobody holds the terminal open any more
                data = b""
            if not data:
                self.close()
                break
            # a terminal gives 4 KiB at a time, a pipe gives what it has
            while len(data) < size and len(data) % 4096 == 0 and (more := self.rest(4096)):
                data += more
            return data
        return b""

    async def _readable(self) -> None:
        self._woken = woken = Future()
        self._loop.watch(self._fd, READ, woken.succeed)
        try:
            await woken
        finally:
            if self._fd >= 0:
                self._loop.unwatch(self._fd)


class Input:
    """What a process reads."""

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._turns = Queue()

    async def write(self, data: bytes) -> int:
        """Write all of `data`, waiting while the process does not read.

        Raises:
            AgentError: the process reads no more.
        """
        async with self._turns:
            rest = memoryview(data)
            while rest:
                if self._fd < 0:
                    raise AgentError("standard input is closed", code=ttrpc.UNAVAILABLE)
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._loop.ready(self._fd, WRITE)
                except OSError as error:
                    raise AgentError(
                        f"the process does not read its standard input any more: {error.strerror}",
                        code=ttrpc.UNAVAILABLE,
                    ) from error
            return len(data)

    async def finish(self) -> None:
        """Close behind what was written before."""
        async with self._turns:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
