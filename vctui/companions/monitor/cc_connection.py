"""One connection to a cc-proxy, as a runtime has it or a shim (proxies-and-shims sheet, §3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import sockets
from vctui.wire import ccproxy, ttrpc
from vctui.wire.ccproxy import Command, Frame, Type

_CHUNK: Final = 64 * 1024
_TEXT: Final = 1024
_PASSED: Final = 256
"""Frames that may come before an answer."""


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = ccproxy.Decoder()
        self._frames: deque[Frame] = deque()

    @classmethod
    async def open(cls, path: Path) -> Connection:
        """Raises OSError."""
        sock = await sockets.connect(path)
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def ask(self, command: Command, payload: dict[str, Any]) -> bytes:
        """The payload of the answer; what else comes before it is kept for `frame`.

        Raises:
            CallFailed: the proxy refuses, or passes on that the agent does.
            ConnectionLost: it has hung up.
        """
        self.send(Frame(Type.COMMAND, command, msgspec.json.encode(payload)))
        passed: list[Frame] = []
        while True:
            frame = await self.frame()
            if frame is None:
                raise ConnectionLost("cc-proxy has closed the connection")
            if frame.type is Type.RESPONSE and frame.opcode == command:
                self._frames.extendleft(reversed(passed))
                break
            passed.append(frame)
            if len(passed) > _PASSED:
                raise ConnectionLost("cc-proxy sends too much, and no answer")
        if frame.is_error:
            raise CallFailed(ttrpc.INTERNAL, _words(frame.payload))
        return frame.payload

    def send(self, frame: Frame) -> None:
        """In one write, as a proxy wants each header in a single read(2)."""
        self._writer.write(ccproxy.encode(frame))

    async def drain(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def frame(self) -> Frame | None:
        """The next one; None when the proxy has hung up, or sends what is no frame."""
        while not self._frames:
            try:
                chunk = await self._reader.read(_CHUNK)
                self._frames.extend(self._decoder.feed(chunk))
            except (OSError, ccproxy.CcProxyError):
                return None
            if not chunk:
                return None
        return self._frames.popleft()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        """What was sent still arrives."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _words(payload: bytes) -> str:
    try:
        said = msgspec.json.decode(payload, type=_Refusal).msg
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = ""
    return said[:_TEXT] or "it gives no reason"


class _Refusal(msgspec.Struct):
    msg: str = ""
