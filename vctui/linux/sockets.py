"""Unix sockets with paths of any length, private from their first moment.

The kernel takes 107 bytes of path. A longer one is reached through its opened folder:
`/proc/self/fd/N/name`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import sys
import termios
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vctui.wire import vsock

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PATH: Final = 107
"""Bytes of a path in sockaddr_un."""
_TURNS: Final = 2
"""Of the loop: asyncio makes a transport of what it has accepted, then tells the protocol of it."""
_LOOK_AGAIN: Final = 0.001
_HYBRID_ANSWER: Final = 10.0
"""Seconds, as Kata's own runtime waits (kata-agent ttrpc sheet, §1.3)."""


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A name for `path` that fits into sockaddr_un, valid within the block.

    Raises:
        OSError: the folder of `path` is missing or closed to us.
    """
    if len(os.fsencode(path)) <= MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, *, backlog: int = 16) -> socket.socket:
    """A non-blocking listening socket of mode 0600; replaces what stood at `path` before.

    Raises:
        OSError: the folder is missing or closed to us.
    """
    path.unlink(missing_ok=True)
    server = _socket()
    try:
        os.fchmod(server.fileno(), 0o600)  # bind(2) makes the file with the socket's own mode
        with address(path) as name:
            server.bind(name)
        server.listen(backlog)
    except BaseException:
        server.close()
        raise
    return server


async def connect(path: Path) -> socket.socket:
    """A connected non-blocking socket.

    Raises:
        FileNotFoundError, ConnectionRefusedError: nobody listens there.
    """
    client = _socket()
    try:
        with address(path) as name:
            await asyncio.get_running_loop().sock_connect(client, name)
    except BaseException:
        client.close()
        raise
    return client


def is_served(path: Path) -> bool:
    """Whether a program has the stream socket at `path` open, which does not hear of the question.

    A datagram socket cannot be connected with it: the kernel says that the type is wrong where
    there is somebody, and otherwise that nobody is there.

    Raises:
        OSError: we may not connect.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking, address(path) as name:
        try:
            asking.connect(name)
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                return True
            if error.errno in {errno.ECONNREFUSED, errno.ENOENT}:
                return False
            raise
    return False


async def drained(transport: asyncio.WriteTransport) -> None:
    """Return when the peer has read all that was sent to it, or the connection is closed."""
    while not transport.is_closing():
        pending = transport.get_write_buffer_size()
        sock = transport.get_extra_info("socket")
        if not pending and not int.from_bytes(
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder
        ):
            return
        await asyncio.sleep(_LOOK_AGAIN)  # the kernel tells nobody


async def connect_hybrid(path: Path, port: int) -> socket.socket:
    """A connection to a port of the guest whose hybrid vsock socket is `path`.

    Raises:
        OSError: nobody serves that socket, or nobody listens on that port (ConnectionResetError),
            or no answer came in time (TimeoutError).
    """
    loop = asyncio.get_running_loop()
    client = await connect(path)
    try:
        async with asyncio.timeout(_HYBRID_ANSWER):
            await loop.sock_sendall(client, vsock.connect_line(port))
            line = b""
            while not line.endswith(b"\n"):  # byte by byte: what follows is not ours to read
                got = await loop.sock_recv(client, 1)
                if not got or len(line) == vsock.MAX_LINE:
                    raise ConnectionResetError(f"nobody listens on port {port} of the guest")
                line += got
        if not vsock.is_ok(line):
            raise ConnectionResetError(f"the guest refuses a connection to its port {port}")
    except BaseException:
        client.close()
        raise
    return client


async def open_connection(
    path: Path, *, limit: int = 2**16
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Like asyncio.open_unix_connection, for paths of any length."""
    return await asyncio.open_unix_connection(sock=await connect(path), limit=limit)


async def stop(*servers: asyncio.Server) -> None:
    """Let nobody else in; whoever has come in has a protocol that knows it.

    `Server.close` alone forgets, without closing it, a connection that it has accepted in the same
    turn of the loop or the one before.
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listening in server.sockets:
            loop.remove_reader(listening)
    try:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    finally:
        for server in servers:
            server.close()


def _socket() -> socket.socket:
    created = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    created.setblocking(False)
    return created
