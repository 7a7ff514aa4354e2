"""One connection for the parts of an operation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vctui.drivers import connections, ttrpc_client
from vctui.drivers.ttrpc_client import Session
from vctui.linux import sockets


class Peer:
    """Accepts connections and says nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writers: list[asyncio.StreamWriter] = []
        self.accepted = asyncio.Condition()
        self.left = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self.accepted:
            self.writers.append(writer)
            self.accepted.notify_all()
        await reader.read()
        writer.close()
        self.left.set()

    async def leave(self) -> None:
        """End the newest connection."""
        async with self.accepted:
            await self.accepted.wait_for(lambda: self.writers)
        writer = self.writers[-1]
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    made = Peer(tmp_path / "monitor.sock")
    server = await asyncio.start_unix_server(made.take, sock=sockets.listen(made.path))
    yield made
    server.close()
    for writer in made.writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def connect(path: Path) -> Session:
    return await ttrpc_client.connect(path, timeout=5.0)


async def test_parts_of_an_operation_use_one_connection(peer: Peer) -> None:
    async with connections.kept():
        first = await connections.lease(peer.path, connect)
        beside = await connections.lease(peer.path, connect)
        await first.close()
        await first.close()
        assert beside.connection.is_open
        await beside.close()
        later = await connections.lease(peer.path, connect)
        assert later.connection is beside.connection is first.connection
        await later.close()
    assert not first.connection.is_open


async def test_without_somebody_who_keeps_them_they_end_with_their_last_use(peer: Peer) -> None:
    first = await connections.lease(peer.path, connect)
    beside = await connections.lease(peer.path, connect)
    await first.close()
    assert beside.connection is first.connection
    assert beside.connection.is_open
    await beside.close()
    assert not first.connection.is_open


async def test_a_connection_of_ones_own_is_one_that_nobody_uses(peer: Peer) -> None:
    async with connections.kept():
        used = await connections.lease(peer.path, connect)
        own = await connections.take(peer.path, connect)
        assert own is not used.connection
        await used.close()
        taken = await connections.take(peer.path, connect)
        assert taken is used.connection
        again = await connections.lease(peer.path, connect)
        assert again.connection is not taken
        await again.close()
        await own.close()
        await taken.close()


async def test_one_whose_other_side_has_left_is_not_used_again(peer: Peer) -> None:
    async with connections.kept():
        first = await connections.lease(peer.path, connect)
        await first.close()
        await peer.leave()
        second = await connections.lease(peer.path, connect)
        assert second.connection is not first.connection
        assert second.connection.is_open
        await second.close()


async def test_somebody_else_who_listens_is_reached_at_once(peer: Peer) -> None:
    async with connections.kept():
        unused = await connections.lease(peer.path, connect)
        await unused.close()
        connections.forget(peer.path)
        assert not unused.connection.is_open
        used = await connections.lease(peer.path, connect)
        connections.forget(peer.path)
        fresh = await connections.lease(peer.path, connect)
        assert fresh.connection is not used.connection
        assert used.connection.is_open
        await used.close()
        assert not used.connection.is_open
        await fresh.close()


async def test_one_that_nobody_uses_ends_after_a_moment(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LINGER", 0.0)
    async with connections.kept():
        first = await connections.lease(peer.path, connect)
        await first.close()
        async with asyncio.timeout(5.0):
            await peer.left.wait()
        assert not first.connection.is_open
        second = await connections.lease(peer.path, connect)
        assert second.connection is not first.connection
        await second.close()
