"""The monitor's end of an Attach or Console stream."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from vctui.companions.monitor.fanout import Fanout, Listener
from vctui.drivers.ttrpc_client import CallFailed
from vctui.wire import monitor, ttrpc

if TYPE_CHECKING:
    from vctui.companions.monitor.client import Client

_BEHIND: Final = 256 * 1024
"""Bytes waiting for a client to take them; more is held back or, for a logged process, lost."""
_INPUT_LIMIT: Final = 256 * 1024
"""Bytes waiting for a process to take them; then the client is not read."""
_FRAME_COST: Final = 128
"""Bytes that a frame counts beyond its payload, so that empty ones are not free."""
_OUTPUT_CHUNK: Final = 64 * 1024


class Target(ABC):
    """What a client is attached to."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Raises CallFailed."""

    @abstractmethod
    async def resize(self, size: monitor.Size) -> None:
        """Raises CallFailed."""

    @abstractmethod
    async def close_stdin(self) -> None:
        """Raises CallFailed."""


class Attachment(Listener):
    """Output goes to the client as it has room for it, input to the target in order."""

    def __init__(
        self,
        client: Client,
        stream_id: int,
        fanout: Fanout,
        target: Target,
        *,
        how_ended: Callable[[], monitor.Exit],
    ) -> None:
        self._client = client
        self._stream_id = stream_id
        self._fanout = fanout
        self._target = target
        self._how_ended = how_ended
        self._input: deque[tuple[int, bytes]] = deque()
        self._input_size = 0
        self._input_changed = asyncio.Event()
        self._skipped = 0
        self._closed = False
        self._writer = asyncio.create_task(self._pass_input_on())

    # Listener

    @property
    def is_behind(self) -> bool:
        return self._client.unsent > _BEHIND

    def deliver(self, stream: int, data: bytes) -> None:
        if self._closed:
            return
        if self.is_behind and not self._fanout.is_lossless:
            self._skipped += len(data)
            return
        self._tell_skipped()
        for start in range(0, len(data), _OUTPUT_CHUNK):
            self._send(stream, data[start : start + _OUTPUT_CHUNK])

    def finish(self) -> None:
        """The last frames: how it ended, and the end of the stream."""
        if self._closed:
            return
        self._tell_skipped(at_once=True)
        self._send(monitor.EXIT, msgspec.json.encode(self._how_ended()))
        self._client.answer(self._stream_id)
        self.leave()

    # the client's side

    @property
    def is_closed(self) -> bool:
        return self._closed

    def accept(self) -> None:
        """Tell the client that it is attached, before any output."""
        self._send(monitor.STDOUT, b"")

    def resize(self, size: monitor.Size) -> None:
        """The client's window, known from its request."""
        self._queue(monitor.RESIZE, msgspec.json.encode(size))

    def receive(self, frame: ttrpc.Frame) -> None:
        """A Data frame of the client."""
        if self._closed:
            return
        if not frame.flags & ttrpc.NO_DATA:
            self._queue(*monitor.split(frame.data))
        if frame.flags & ttrpc.REMOTE_CLOSED:
            self._client.answer(self._stream_id)
            self.leave()

    def room_again(self) -> None:
        """The client has taken what waited for it."""
        if not self._closed:
            self._tell_skipped()
        self._fanout.wake()

    def leave(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._fanout.leave(self)
        self._client.detached(self._stream_id, self)
        self._writer.cancel()

    def _queue(self, channel: int, payload: bytes) -> None:
        self._input.append((channel, payload))
        self._input_size += len(payload) + _FRAME_COST
        self._client.hold(self, self._input_size > _INPUT_LIMIT)
        self._input_changed.set()

    async def _pass_input_on(self) -> None:
        with contextlib.suppress(CallFailed):  # it ended meanwhile: the client hears of that
            while True:
                while not self._input:
                    self._input_changed.clear()
                    await self._input_changed.wait()
                channel, payload = self._input.popleft()
                self._input_size -= len(payload) + _FRAME_COST
                self._client.hold(self, self._input_size > _INPUT_LIMIT)
                await self._pass_on(channel, payload)
        self._input.clear()
        self._client.hold(self, False)

    async def _pass_on(self, channel: int, payload: bytes) -> None:
        if channel == monitor.STDIN and payload:
            await self._target.write(payload)
        elif channel == monitor.CLOSE_STDIN:
            await self._target.close_stdin()
        elif channel == monitor.RESIZE:
            with contextlib.suppress(msgspec.DecodeError, CallFailed):
                size = msgspec.json.decode(payload, type=monitor.Size)
                await self._target.resize(size)

    def _tell_skipped(self, *, at_once: bool = False) -> None:
        if self._skipped and (at_once or not self.is_behind):
            notice = f"\r\n[{self._skipped} bytes of output skipped: see the log]\r\n"
            self._skipped = 0
            self._send(monitor.STDOUT, notice.encode())

    def _send(self, channel: int, payload: bytes) -> None:
        self._client.send(self._stream_id, ttrpc.DATA, monitor.data(channel, payload))
