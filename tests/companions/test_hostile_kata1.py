"""A guest of Kata 1.x that breaks gRPC behind a proper yamux session: one error for each call,
bounded memory, and whoever asks after the agent is told in time."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import psutil
import pytest

from tests.fakes.yamux_server import YamuxServer
from vctui.companions.monitor import port, yamux_link
from vctui.companions.monitor.grpc_link import GrpcLink
from vctui.companions.monitor.yamux_link import Mux
from vctui.drivers.grpc_client import Session
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import sockets
from vctui.wire import yamux

WAIT = 20.0
MIB = 1024 * 1024
WRITES_ON = "socket.send() raised exception."
"""asyncio's word to the evil side when that goes on where the other has left, at times."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_HEADERS = 4
OK = b"\x88"
"""`:status 200` as HPACK has it."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


HELLO = frame(SETTINGS, 0, 0, b"")


async def is_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def is_noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO + os.urandom(100_000))


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def leaves_in_the_middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(len(PREFACE))
    writer.write(HELLO + frame(HEADERS, END_HEADERS, 1, OK)[:-1])
    await writer.drain()
    writer.close()


async def goes_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))


async def lies_about_its_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(len(PREFACE))
    begin = frame(HEADERS, END_HEADERS, 1, OK + b"\x5f\x10application/grpc")
    writer.write(HELLO + begin + frame(DATA, 0, 1, struct.pack(">BI", 0, 2**32 - 1)))
    while not writer.is_closing():
        writer.write(frame(DATA, 0, 1, bytes(16384)))
        await writer.drain()


async def has_headers_without_end(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await reader.readexactly(len(PREFACE))
    writer.write(HELLO + frame(HEADERS, 0, 1, OK))
    while not writer.is_closing():
        writer.write(frame(9, 0, 1, b"\x40\x01a\x7f\x80\x7e" + bytes(254)))  # CONTINUATION
        await writer.drain()


async def answers_others(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(len(PREFACE))
    writer.write(HELLO + frame(HEADERS, END_HEADERS, 7, OK) + frame(RST, 0, 9, bytes(4)))


class Evil:
    """A guest whose yamux is in order and whose gRPC is `serve`, and the link to it."""

    def __init__(self, folder: Path, serve: Serve) -> None:
        self.folder = folder
        self.serve = serve
        self.connections = 0
        self.warnings: list[str] = []
        self.sessions: list[YamuxServer] = []
        self.link = GrpcLink(folder / "a.sock", folder / "p.sock", self.warnings.append)
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def misbehave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        try:
            await self.serve(reader, writer)
            while await reader.read(65536):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def multiplex(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        self.sessions.append(YamuxServer(reader, writer, self.folder / "evil.sock"))
        await self.sessions[-1].run()


@asynccontextmanager
async def living_link(folder: Path, serve: Serve) -> AsyncIterator[Evil]:
    evil = Evil(folder, serve)
    behind = await asyncio.start_unix_server(evil.misbehave, str(folder / "evil.sock"))
    channel = await asyncio.start_unix_server(
        evil.multiplex, sock=sockets.listen(folder / "a.sock")
    )
    task = asyncio.create_task(evil.link.run(adopting=False))
    evil.link.port_opened()
    async with asyncio.timeout(WAIT), behind, channel:
        try:
            yield evil
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await evil.link.close()
            await asyncio.gather(*(one for one in evil.tasks if one))


@pytest.mark.parametrize(
    "serve",
    [
        is_no_http,
        is_noise,
        closes_at_once,
        leaves_in_the_middle,
        goes_away,
        lies_about_its_length,
        has_headers_without_end,
        answers_others,
    ],
    ids=lambda serve: serve.__name__,
)
async def test_a_guest_that_breaks_grpc_costs_an_error_and_little_memory(
    tmp_path: Path,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(yamux_link, "_AT_ONCE", 1_000_000)  # gRPC comes back as often as it can
    before = psutil.Process().memory_info().rss
    async with living_link(tmp_path, serve) as evil:
        while not evil.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        client = Session.over_unix(tmp_path / "p.sock")
        with pytest.raises((CallFailed, ConnectionLost, TimeoutError)):
            await client.call("grpc.Health", "Check", timeout=0.5)
        await client.close()
    assert psutil.Process().memory_info().rss - before < 64 * MIB
    said = [each for each in caplog.messages if each != WRITES_ON]
    assert (evil.warnings, said, len(evil.sessions)) == ([], [], 1)
    assert evil.sessions[0].sins == []


async def test_a_guest_that_hangs_up_on_everybody_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(yamux_link, "_AT_ONCE", 4)
    monkeypatch.setattr(port, "SETTLE", 0.01)
    async with living_link(tmp_path, is_noise) as evil:
        while not evil.link.given_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(evil.warnings) == 4
    assert "whoever asks it something is hung up on" in evil.warnings[0]


async def test_an_answer_that_unpacks_to_too_much_is_an_error(tmp_path: Path):
    async def check(_request: bytes, _context: object) -> bytes:
        return bytes(64 * MIB)

    server = grpc.aio.server(compression=grpc.Compression.Gzip)
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.Health", handlers),)
    )
    server.add_insecure_port(f"unix:{tmp_path}/g.sock")
    await server.start()
    client = Session.over_unix(tmp_path / "g.sock")
    with pytest.raises(CallFailed, match="larger than max"):
        await client.call("grpc.Health", "Check", timeout=WAIT)
    await client.close()
    await server.stop(None)


async def test_what_is_no_yamux_is_not_kept_while_an_answer_is_awaited():
    mux = Mux()
    for _ in range(100):
        mux.data_received(os.urandom(65536))
    assert len(mux._skipped) < yamux.HEADER_SIZE
    assert not mux.answered.is_set()
