"""A terminal of the host that a process is connected to (API: Cmd.Console)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final

from vctui.companions.monitor.attachment import Target
from vctui.companions.monitor.fanout import Fanout, Listener
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import terminals
from vctui.wire import monitor

_BEHIND: Final = 256 * 1024
"""Bytes that wait for the terminal's reader; more are skipped or held back."""
_READ: Final = 4096
"""What a terminal gives at once."""
_LOOK: Final = 0.25
"""Seconds between looks at the size: only a session's own terminal tells it of changes."""
_LAST_WORDS: Final = 2.0
"""Seconds for the reader of the terminal to take the rest, after the process has ended."""


class HostConsole(Listener):
    """Output goes to the terminal, what is typed there to the process, and so does its size.

    Args:
        fd: of `terminals.open_terminal`; closed in the end.
        raw: the process has a terminal in the guest, which does the echo and the line editing.
    """

    def __init__(self, fd: int, target: Target, output: Fanout, *, raw: bool) -> None:
        self._fd = fd
        self._target = target
        self._output = output
        self._modes = terminals.make_raw(fd) if raw else None
        self._unsent = bytearray()
        self._skipped = 0
        self._readable = asyncio.Event()
        self._finished = False
        self._closed = False
        self._tasks = [
            asyncio.create_task(self._pass_input_on()),
            asyncio.create_task(self._pass_size_on()),
        ]

    # Listener

    @property
    def is_behind(self) -> bool:
        return len(self._unsent) > _BEHIND

    def deliver(self, stream: int, data: bytes) -> None:
        if self._closed:
            return
        if self.is_behind and not self._output.is_lossless:
            self._skipped += len(data)
            return
        if self._skipped:
            self._unsent += f"\r\n[{self._skipped} bytes of output skipped]\r\n".encode()
            self._skipped = 0
        self._unsent += data
        self._write()

    def finish(self) -> None:
        """The terminal gets what it has not taken yet, and is left."""
        if self._finished:
            return
        self._finished = True
        for task in self._tasks:
            task.cancel()
        if self._unsent and not self._closed:
            asyncio.get_running_loop().call_later(_LAST_WORDS, self.close)
        else:
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was found. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.remove_writer(self._fd)
        if self._modes is not None:
            terminals.restore(self._fd, self._modes)
        os.close(self._fd)
        self._output.leave(self)

    def _write(self) -> None:
        """As much as the terminal takes."""
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                del self._unsent[: os.write(self._fd, self._unsent[:_READ])]
        except BlockingIOError:
            loop.add_writer(self._fd, self._write)
        except OSError:  # nobody has the terminal open any more
            self.close()
            return
        else:
            loop.remove_writer(self._fd)
        if self._finished and not self._unsent:
            self.close()
        self._output.wake()

    async def _pass_input_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._readable.clear()
            loop.add_reader(self._fd, self._readable.set)
            await self._readable.wait()
            loop.remove_reader(self._fd)
            try:
                typed = os.read(self._fd, _READ)
            except BlockingIOError:
                continue
            except OSError:  # nobody has the terminal open any more
                typed = b""
            await self._give(typed)
            if not typed:
                return

    async def _give(self, typed: bytes) -> None:
        """Until the process takes it: a container's first one may be about to start."""
        while True:
            try:
                await (self._target.write(typed) if typed else self._target.close_stdin())
                return
            except CallFailed:
                await asyncio.sleep(_LOOK)

    async def _pass_size_on(self) -> None:
        known = (0, 0)
        while True:
            rows, columns = terminals.size(self._fd)
            if rows > 0 and columns > 0 and (rows, columns) != known:
                with contextlib.suppress(CallFailed):  # before its start
                    await self._target.resize(monitor.Size(rows, columns))
                    known = rows, columns
            await asyncio.sleep(_LOOK)
