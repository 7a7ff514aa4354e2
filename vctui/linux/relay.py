"""Carry bytes between two connections, both ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

_CHUNK: Final = 256 * 1024

_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""`struct linger`: on, for no time at all; TCP sends a reset then."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def relay(one: Connection, other: Connection) -> None:
    """Return when both sides have ended, or one has broken. The end of one side's bytes is passed
    on as such, so that it may still be answered; a broken side breaks the other. Both are closed
    in any case."""
    writers = (one[1], other[1])
    ways = [
        asyncio.create_task(_carry(one[0], other[1])),
        asyncio.create_task(_carry(other[0], one[1])),
    ]
    try:
        await asyncio.gather(*ways)
    except BaseException as error:
        for way in ways:
            way.cancel()
        for writer in writers:
            reset(writer)
        await asyncio.gather(*ways, return_exceptions=True)
        if not isinstance(error, OSError):
            raise
    finally:
        for writer in writers:
            writer.close()
        for writer in writers:  # of both, as the wait for the first may be cancelled
            await close(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection, so that its peer does not take it for an orderly end."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close what may be broken already."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
