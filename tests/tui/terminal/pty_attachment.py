"""A program on a local pseudo-terminal behind the promises of an Attachment."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import termios
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from vctui.drivers.shims.base import Attachment, Output


class PtyAttachment(Attachment):
    def __init__(
        self,
        argv: Sequence[str],
        *,
        rows: int = 24,
        columns: int = 80,
        cwd: Path | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self._process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: _control_terminal(slave),
        )
        os.close(slave)
        os.set_blocking(self._master, False)

    async def __aiter__(self) -> AsyncIterator[Output]:
        while self._master >= 0:
            try:
                data = os.read(self._master, 65536)
            except BlockingIOError:
                await self._ready(writing=False)
                continue
            except OSError:  # EIO: nobody has the other end any more
                break
            if not data:
                break
            yield Output(stream=1, data=data)
        if self._master >= 0:
            self.exit_code = await asyncio.to_thread(self._process.wait)

    async def _ready(self, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        add, remove = (
            (loop.add_writer, loop.remove_writer)
            if writing
            else (loop.add_reader, loop.remove_reader)
        )
        waiter = self._waiter
        add(self._master, lambda: waiter.done() or waiter.set_result(None))
        try:
            await waiter
        finally:
            if self._master >= 0:
                remove(self._master)

    async def write(self, data: bytes) -> None:
        while data and self._master >= 0:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await self._ready(writing=True)
            except OSError:
                return

    async def resize(self, rows: int, columns: int) -> None:
        if self._master >= 0:
            termios.tcsetwinsize(self._master, (rows, columns))

    async def close_stdin(self) -> None:
        await self.write(b"\x04")

    async def detach(self) -> None:
        """Here it also ends the program: nobody else has it."""
        if self._master >= 0:
            master, self._master = self._master, -1
            loop = asyncio.get_running_loop()
            loop.remove_reader(master)
            loop.remove_writer(master)
            if (waiter := getattr(self, "_waiter", None)) and not waiter.done():
                waiter.set_result(None)
            os.close(master)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)


def _control_terminal(slave: int) -> None:
    import fcntl

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
