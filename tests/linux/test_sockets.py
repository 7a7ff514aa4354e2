"""Promises of unix sockets: any length of path, private, replacing what a dead process left."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress

import pytest

from vctui.linux import sockets


@pytest.fixture(params=["short", "long"])
def path(request, tmp_path):
    folder = tmp_path / ("d" * 120) if request.param == "long" else tmp_path
    folder.mkdir(exist_ok=True)
    return folder / "x.sock"


async def test_what_is_written_arrives(path):
    with sockets.listen(path) as server:
        reader, writer = await sockets.open_connection(path)
        peer, _ = await asyncio.get_running_loop().sock_accept(server)
        with peer:
            writer.write(b"hello\n")
            await writer.drain()
            assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"hello\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("turns", range(6))
async def test_whoever_came_in_before_the_door_was_shut_is_known_or_turned_away(path, turns):
    """In whichever turn of the loop that is, between its connecting and our hearing of it."""
    made: list[asyncio.Transport] = []

    class Guest(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(transport)

    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(Guest, sock=sockets.listen(path))
    with await sockets.connect(path) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        await sockets.stop(server)
        for transport in made:
            transport.abort()
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                assert await loop.sock_recv(client, 1) == b""
    assert not server.is_serving()


async def test_a_socket_is_private_whatever_the_umask(path):
    old = os.umask(0)
    try:
        with sockets.listen(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


async def test_what_a_dead_process_left_is_replaced(path):
    sockets.listen(path).close()
    with pytest.raises(ConnectionRefusedError):
        await sockets.connect(path)
    with sockets.listen(path):
        (await sockets.connect(path)).close()


async def test_nobody_there(path):
    with pytest.raises(FileNotFoundError):
        await sockets.connect(path)


async def test_a_folder_that_is_missing_is_an_error(path):
    with pytest.raises(FileNotFoundError):
        sockets.listen(path.parent / "nowhere" / "x.sock")


def test_whether_a_socket_is_served_is_found_out_unheard(path):
    assert not sockets.is_served(path)
    with sockets.listen(path) as server:
        assert sockets.is_served(path)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not sockets.is_served(path)


async def test_what_was_sent_is_read_when_the_peer_has_it(path):
    loop = asyncio.get_running_loop()
    with sockets.listen(path) as server:
        _, writer = await sockets.open_connection(path)
        peer, _ = await loop.sock_accept(server)
        with peer:
            await sockets.drained(writer.transport)
            writer.write(b"hello")
            waiting = asyncio.create_task(sockets.drained(writer.transport))
            assert await loop.sock_recv(peer, 4) == b"hell"
            assert not (await asyncio.wait({waiting}, timeout=0.1))[0]
            assert await loop.sock_recv(peer, 4) == b"o"
            await waiting
            writer.write(b"unread")
            waiting = asyncio.create_task(sockets.drained(writer.transport))
            writer.transport.abort()
            await waiting
        with suppress(ConnectionError):
            await writer.wait_closed()
