"""Bytes are carried both ways, and both sides are let go of however it ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from vctui.linux import relay


async def connection() -> tuple[relay.Connection, socket.socket]:
    """A side of a relay, and who is behind it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return await asyncio.open_unix_connection(sock=ours), theirs


async def test_the_end_of_one_side_may_still_be_answered() -> None:
    loop = asyncio.get_running_loop()
    (one, asks), (other, answers) = await connection(), await connection()
    with asks, answers:
        carrying = asyncio.create_task(relay.relay(one, other))
        await loop.sock_sendall(asks, b"ask")
        asks.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(answers, 10) == b"ask"
        assert await loop.sock_recv(answers, 10) == b""
        await loop.sock_sendall(answers, b"answer")
        answers.close()
        assert await loop.sock_recv(asks, 10) == b"answer"
        await carrying
    assert one[1].is_closing()
    assert other[1].is_closing()


async def test_both_sides_are_closed_where_the_wait_for_the_first_is_cancelled() -> None:
    loop = asyncio.get_running_loop()
    (one, reads_nothing), (other, sends) = await connection(), await connection()
    one[1].transport.set_write_buffer_limits(high=1 << 30)
    with reads_nothing, sends:
        carrying = asyncio.create_task(relay.relay(one, other))
        reads_nothing.shutdown(socket.SHUT_WR)
        await loop.sock_sendall(sends, bytes(4 << 20))
        sends.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(10):
            while not one[1].is_closing():  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0)
        assert not carrying.done()
        carrying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carrying
        assert other[1].is_closing()
        one[1].transport.abort()
