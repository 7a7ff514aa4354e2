"""The guest's console once more, for programs that want to read it themselves.

QEMU serves its console to one client, which is the monitor. A kata-proxy or cc-proxy that is asked
for debug output reads the agent's log there (proxies-and-shims sheet, §1.2, §2, §3.1).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, cast

from vctui.companions.monitor.fanout import Fanout, Listener
from vctui.linux import sockets

SOCKET: Final = "console.sock"
_CLIENTS: Final = 4


class ConsoleSocket:
    """Serves what comes from now on to whoever connects to `path`."""

    def __init__(self, path: Path, output: Fanout) -> None:
        self._path = path
        self._output = output
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Raises OSError."""
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Reader(self._output), sock=sockets.listen(self._path, backlog=_CLIENTS)
        )

    async def close(self) -> None:
        """Nobody else comes. Idempotent."""
        if self._server is not None:
            await sockets.stop(self._server)
            self._path.unlink(missing_ok=True)


class _Reader(asyncio.Protocol, Listener):
    """What it sends is nothing to us; what it does not take is lost to it."""

    def __init__(self, output: Fanout) -> None:
        self._output = output
        self._transport: asyncio.Transport | None = None
        self._is_behind = False

    # for the console

    @property
    def is_behind(self) -> bool:
        return self._is_behind

    def deliver(self, stream: int, data: bytes) -> None:
        if self._transport is not None and not self._is_behind:
            self._transport.write(data)

    def finish(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._output.join(self, 0)

    def pause_writing(self) -> None:
        self._is_behind = True

    def resume_writing(self) -> None:
        self._is_behind = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._output.leave(self)
