"""A process's stdio coupled with an emulator.

Output is fed in small slices between which the screen gets its turn, and no faster than it is
read on the other side: a process that floods slows down itself. Input and answers to the
process wait in a bounded queue. Everything here belongs to the screen's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final

from vctui.drivers.shims.base import Attachment
from vctui.errors import VctuiError
from vctui.present import detach
from vctui.tui.terminal.emulator import Emulator

FRAME: Final = 1 / 30
"""Seconds between two announcements of changes, at least."""

_SLICE: Final = 512
"""Bytes fed at once: the most costly sequences take some 30 ms to that many."""
_BUSY: Final = 0.008
"""Seconds of feeding before others get a turn, and of rest for them after it."""
_REST: Final = 0.004

_MAX_INPUT: Final = 4 * 1024 * 1024
"""Bytes that wait for a process that does not read."""
_WRITE: Final = 32 * 1024


class SessionState(StrEnum):
    ATTACHED = "attached"
    DETACHED = "detached"
    ENDED = "ended"


class TerminalSession:
    """Lives from `start` to the end of the process or `detach`; views come and go."""

    def __init__(
        self,
        attachment: Attachment,
        *,
        title: str = "",
        detach_keys: str = "",
        rows: int = 24,
        columns: int = 80,
    ) -> None:
        """Raises InvalidConfig for keys that `present.detach` does not know."""
        self.title = title
        self.detach_keys = detach_keys
        self.emulator = Emulator(rows, columns)
        self.state = SessionState.ATTACHED
        self.exit_code: int | None = None
        self.reason = ""
        """Why there is no exit code, in words."""
        self.on_change: Callable[[], object] | None = None
        """Called when there is something new to show, at most once per FRAME."""
        self._attachment = attachment
        self._keys = detach.DetachKeys(detach.parse(detach_keys))
        self._key_timer: asyncio.TimerHandle | None = None
        self._input = bytearray()
        self._size = (0, 0)
        """What the process was told last."""
        self._input_waits = asyncio.Event()
        self._size_waits = asyncio.Event()
        self._frame_timer: asyncio.TimerHandle | None = None
        self._next_frame = 0.0
        self._main: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    @property
    def attached(self) -> bool:
        return self.state is SessionState.ATTACHED

    @property
    def status(self) -> str:
        """For an operator: `attached`, `detached`, `exited 3`, or why nobody knows."""
        if self.state is not SessionState.ENDED:
            return str(self.state)
        if self.exit_code is not None:
            return f"exited {self.exit_code}"
        return self.reason or "ended"

    def start(self) -> None:
        """Begin to carry bytes. Idempotent."""
        if self._main is None:
            self._main = asyncio.create_task(self._run(), name=f"terminal {self.title}")

    async def wait(self) -> None:
        """Until the session has ended or was left; needs `start`."""
        if self._main is not None:
            await asyncio.wait([self._main])

    async def detach(self) -> None:
        """Leave; the process goes on. Idempotent."""
        if self.attached:
            self.state = SessionState.DETACHED
            try:
                await self._attachment.detach()
            except VctuiError as error:
                self.reason = error.message
            finally:
                self._announce()
        await self.wait()

    # From the operator

    def type(self, data: bytes) -> None:
        """Bytes of keys; the detach keys are looked for in them."""
        if self._key_timer is not None:
            self._key_timer.cancel()
            self._key_timer = None
        passed, leave = self._keys.feed(data)
        self.send(passed)
        if leave:
            self._leaving = asyncio.create_task(self.detach())
        elif self._keys.holding:
            loop = asyncio.get_running_loop()
            self._key_timer = loop.call_later(detach.HOLD_SECONDS, self._release_key)

    def _release_key(self) -> None:
        self._key_timer = None
        self.send(self._keys.flush())

    def send(self, data: bytes) -> bool:
        """Bytes as they are (pastes, mouse reports, answers). False if the process has so
        much unread that they do not fit any more; then nothing of them is sent."""
        if not self.attached or len(self._input) + len(data) > _MAX_INPUT:
            return False
        self._input += data
        if self._input:
            self._input_waits.set()
        return True

    def resize(self, rows: int, columns: int) -> None:
        """Emulator and process get the new size; of several in a row the process sees the
        last one."""
        self.emulator.resize(rows, columns)
        screen = self.emulator.screen
        if (screen.rows, screen.columns) != self._size:
            self._size = (screen.rows, screen.columns)
            self._size_waits.set()

    # Carrying

    async def _run(self) -> None:
        senders = [
            asyncio.create_task(self._send_input()),
            asyncio.create_task(self._send_sizes()),
        ]
        try:
            async for output in self._attachment:
                await self._take(output.data)
            self.exit_code, self.reason = self._attachment.exit_code, self._attachment.reason
        except VctuiError as error:
            self.reason = error.message
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            if self.attached:
                self.state = SessionState.ENDED
            self._announce()

    async def _take(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at in range(0, len(data), _SLICE):
            answers = self.emulator.feed(data[at : at + _SLICE])
            if answers:
                self.send(answers)
            self._announce()
            if loop.time() - began >= _BUSY:
                await asyncio.sleep(_REST)
                began = loop.time()

    async def _send_input(self) -> None:
        with suppress(VctuiError):  # the output tells why the process takes no more
            while await self._input_waits.wait():
                data = bytes(self._input[:_WRITE])
                await self._attachment.write(data)
                del self._input[: len(data)]
                if not self._input:
                    self._input_waits.clear()

    async def _send_sizes(self) -> None:
        with suppress(VctuiError):
            while await self._size_waits.wait():
                self._size_waits.clear()
                await self._attachment.resize(*self._size)

    # To the view

    def _announce(self) -> None:
        if self._frame_timer is None:
            loop = asyncio.get_running_loop()
            delay = self._next_frame - loop.time()
            if delay <= 0:
                self._call_view()
            else:
                self._frame_timer = loop.call_later(delay, self._call_view)

    def _call_view(self) -> None:
        self._frame_timer = None
        self._next_frame = asyncio.get_running_loop().time() + FRAME
        if self.on_change is not None:
            self.on_change()
