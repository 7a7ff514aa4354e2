"""Processes of a pretended guest: real ones of this host, with pipes or a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import subprocess
import termios
from pathlib import Path

from vctui.wire.pb import oci_pb2


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal (SigCgt)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


class GuestProcess:
    """Parked until `start`. Output and status stay until somebody has waited for it."""

    signals_from = 128
    """What the status of one that a signal has ended is, less the signal."""

    def __init__(self, spec: oci_pb2.Process) -> None:
        self.spec = spec
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._program: subprocess.Popen[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._own: list[int] = []
        self._waiting: set[asyncio.Event] = set()
        self._turns: dict[int, asyncio.Lock] = {}
        if spec.Terminal:
            master, self._slave = os.openpty()
            self.stdin = self.stdout = self.stderr = master
            self._theirs = (self._slave,) * 3
            self._own = [master]
        else:
            (stdin, self.stdin), (self.stdout, stdout), (self.stderr, stderr) = (
                os.pipe() for _ in range(3)
            )
            self._theirs = (stdin, stdout, stderr)
            self._own = [self.stdin, self.stdout, self.stderr]
        for fd in set(self._own):
            os.set_blocking(fd, False)

    @property
    def pid(self) -> int:
        return self._program.pid if self._program else 0

    def start(self) -> None:
        """Raises FileNotFoundError and other errors of the host."""
        environment = dict(word.split("=", 1) for word in self.spec.Env)
        try:
            self._program = subprocess.Popen(
                list(self.spec.Args),
                env=environment,
                cwd=self.spec.Cwd,
                stdin=self._theirs[0],
                stdout=self._theirs[1],
                stderr=self._theirs[2],
                start_new_session=True,
            )
        finally:
            for fd in set(self._theirs):
                os.close(fd)
        self._task = asyncio.create_task(self._watch(self._program))

    async def _watch(self, program: subprocess.Popen[bytes]) -> None:
        code = await asyncio.to_thread(program.wait)
        self.status.set_result(code if code >= 0 else self.signals_from - code)

    async def read(self, fd: int, length: int) -> bytes:
        """At least one byte. Raises EOFError, OSError where the descriptor was closed.

        Who has asked first reads first.
        """
        async with self._turns.setdefault(fd, asyncio.Lock()):
            return await self._read(fd, length)

    async def _read(self, fd: int, length: int) -> bytes:
        while True:
            try:
                data = os.read(fd, length)
            except BlockingIOError:
                await self._ready(fd)
                continue
            except OSError as error:
                if error.errno == errno.EIO:
                    raise EOFError from error
                raise
            if not data:
                raise EOFError
            return data

    async def write(self, data: bytes) -> int:
        """How much was written; 0 after `close_stdin`."""
        while self.stdin >= 0:
            try:
                return os.write(self.stdin, data)
            except BlockingIOError:
                await self._ready(self.stdin, writing=True)
        return 0

    async def _ready(self, fd: int, *, writing: bool = False) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        self._waiting.add(ready)
        (loop.add_writer if writing else loop.add_reader)(fd, ready.set)
        try:
            await ready.wait()
        finally:
            self._waiting.discard(ready)
            if fd in self._own:
                (loop.remove_writer if writing else loop.remove_reader)(fd)
        if fd not in self._own:
            raise OSError(errno.EBADF, "file already closed")

    def close_stdin(self) -> None:
        """Nothing happens to a terminal."""
        if not self.spec.Terminal and self.stdin >= 0:
            os.close(self.stdin)
            self._own.remove(self.stdin)
            self.stdin = -1

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.stdout, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        os.killpg(self.pid, signal.SIGWINCH)

    def signal(self, number: int, *, is_init: bool) -> None:
        """Raises ProcessLookupError."""
        if is_init and number == signal.SIGTERM and not _catches(self.pid, number):
            number = signal.SIGKILL
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.pid and not self.status.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def destroy(self) -> None:
        self.kill()
        if self._task is not None:
            await self._task
        self.close()

    def close(self) -> None:
        """Unread output is lost."""
        loop = asyncio.get_running_loop()
        own, self._own = self._own, []
        for fd in own:
            loop.remove_reader(fd)
            loop.remove_writer(fd)
            os.close(fd)
        for ready in tuple(self._waiting):
            ready.set()
