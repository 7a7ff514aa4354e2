"""The client's end of ttrpc, against raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vctui.drivers import ttrpc_client
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Session
from vctui.linux import sockets
from vctui.wire import ttrpc
from vctui.wire.pb import ttrpc_pb2


class Peer:
    """The other end: frames in, bytes out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._decoder = ttrpc.Decoder()
        self._frames: list[ttrpc.Frame] = []

    async def frame(self) -> ttrpc.Frame:
        while not self._frames:
            self._frames += self._decoder.feed(await self._reader.read(65536))
        return self._frames.pop(0)

    def send(self, stream_id: int, body: bytes = b"", type_: int = ttrpc.RESPONSE) -> None:
        self.writer.write(ttrpc.encode(stream_id, type_, body))


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[tuple[Session, Peer]]:
    listening = sockets.listen(tmp_path / "sock")
    session = await ttrpc_client.connect(tmp_path / "sock", timeout=5)
    accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
    accepted.setblocking(False)
    peer = Peer(*await asyncio.open_unix_connection(sock=accepted))
    yield session, peer
    await session.close()
    peer.writer.close()
    with contextlib.suppress(OSError):
        await peer.writer.wait_closed()
    listening.close()


async def test_answers_find_their_calls_in_any_order(ends):
    session, peer = ends
    calls = [asyncio.create_task(session.call("s", f"m{n}", timeout=5)) for n in range(3)]
    frames = [await peer.frame() for _ in calls]
    assert [frame.stream_id for frame in frames] == [1, 3, 5]
    for frame in reversed(frames):
        method = ttrpc_pb2.Request.FromString(frame.data).method
        answer = ttrpc_pb2.Response(payload=method.encode()).SerializeToString()
        peer.send(frame.stream_id, answer)
    assert await asyncio.gather(*calls) == [b"m0", b"m1", b"m2"]


async def test_an_answer_that_comes_too_late_is_dropped(ends):
    session, peer = ends
    with pytest.raises(TimeoutError):
        await session.call("s", "slow", timeout=0.01)
    frame = await peer.frame()
    assert ttrpc_pb2.Request.FromString(frame.data).timeout_nano == 10_000_000
    peer.send(frame.stream_id)
    call = asyncio.create_task(session.call("s", "next", timeout=5))
    peer.send((await peer.frame()).stream_id)
    assert await call == b""


async def test_a_lost_connection_fails_every_call(ends):
    session, peer = ends
    call = asyncio.create_task(session.call("s", "m"))
    stream = session.stream("s", "watch")
    await peer.frame()
    peer.writer.transport.abort()
    with pytest.raises(ConnectionLost):
        await call
    with pytest.raises(ConnectionLost):
        await stream.receive()
    with pytest.raises(ConnectionLost):
        await session.call("s", "m")
    await session.close()


async def test_a_request_over_the_limit_is_not_sent(ends):
    session, _ = ends
    with pytest.raises(CallFailed) as failed:
        await session.call("s", "m", bytes(ttrpc.MAX_DATA))
    assert failed.value.code == ttrpc.RESOURCE_EXHAUSTED


async def test_a_stream_carries_data_both_ways_until_its_response(ends):
    session, peer = ends
    stream = session.stream("s", "chat")
    opened = await peer.frame()
    assert opened.flags == ttrpc.REMOTE_OPEN
    await stream.send(b"hello")
    said = await peer.frame()
    assert (said.stream_id, said.type, said.data) == (1, ttrpc.DATA, b"hello")
    peer.send(1, b"world", ttrpc.DATA)
    peer.send(1)
    assert await stream.receive() == b"world"
    assert await stream.receive() is None
    assert await stream.receive() is None


async def test_a_stream_that_nobody_reads_holds_its_peer_back(ends):
    session, peer = ends
    stream = session.stream("s", "flood")
    await peer.frame()
    chunk = bytes(256 * 1024)
    sent = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while sent < 64:
                peer.send(1, chunk, ttrpc.DATA)
                sent += 1
                await peer.writer.drain()
    assert sent < 64
    for _ in range(sent):
        assert await asyncio.wait_for(stream.receive(), 5) == chunk
