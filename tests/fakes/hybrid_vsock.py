"""A hybrid vsock socket, as Firecracker has it, in front of a unix socket that stands for a guest's
port."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vctui.linux import relay, sockets

PORT = 1024


class HybridVsock:
    """Serves `path`; `async with` runs it."""

    def __init__(self, path: Path, inside: Path) -> None:
        self.path = path
        self.inside = inside
        self.clients = 0
        self.refusals = 0
        """Of the next connections, as if nobody listened yet."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> HybridVsock:
        listening = sockets.listen(self.path)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await sockets.stop(self._server)
        await asyncio.gather(*self._tasks, return_exceptions=True)  # they end with their clients

    @property
    def url(self) -> str:
        return f"hvsock://{self.path}:{PORT}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            assert line in {b"CONNECT %d\n" % PORT, b""}
            self.clients += 1
            if self.refusals:
                self.refusals -= 1
                return
            inside = await sockets.open_connection(self.inside)
            writer.write(b"OK 1073741824\n")
            await relay.relay((reader, writer), inside)
        except OSError:  # nobody listens there, or the client has left
            pass
        finally:
            await relay.close(writer)
