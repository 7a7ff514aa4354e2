"""The ways to an agent on a vsock device: our own agent behind a hybrid socket, as either
generation, and devices and guests that go away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.hybrid_vsock import HybridVsock
from tests.guest.agent_program import AgentProgram
from vctui.companions.monitor import vsock_link
from vctui.companions.monitor.link import Link
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.drivers.grpc_client import Session
from vctui.drivers.ttrpc_client import ConnectionLost
from vctui.linux import sockets
from vctui.model.kinds import AgentProtocol
from vctui.wire import monitor
from vctui.wire.pb import health_pb2

WAIT = 30.0
TTRPC, GRPC, AUTO = AgentProtocol.TTRPC, AgentProtocol.GRPC, AgentProtocol.AUTO


class Guest(AgentProgram):
    """One program that answers each client of a listening socket: `inside.sock` of `folder` where
    none is given."""

    def __init__(self, folder: Path, *words: str, listening: socket.socket | None = None) -> None:
        self.socket = folder / "inside.sock"
        listening = listening or sockets.listen(self.socket)
        super().__init__([listening], folder, *words, listens=True)


class Side:
    def __init__(
        self, link: Link, guest: Guest, vsock: HybridVsock, warnings: list[str], served: Path
    ) -> None:
        self.link = link
        self.guest = guest
        self.vsock = vsock
        self.warnings = warnings
        self.served = served


@asynccontextmanager
async def linked(
    folder: Path, protocol: AgentProtocol, *words: str, refusals: int = 0
) -> AsyncIterator[Side]:
    guest = Guest(folder, *words)
    vsock = HybridVsock(folder / "vsock.sock", guest.socket)
    vsock.refusals = refusals
    warnings: list[str] = []
    served = folder / monitor.PROXY
    link = vsock_link.make(protocol, served, warnings.append)
    task = asyncio.create_task(link.run(adopting=False))
    side = Side(link, guest, vsock, warnings, served)
    try:
        async with asyncio.timeout(WAIT), vsock:
            link.reached_at(vsock.url)
            await link.ready()
            yield side
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await link.close()
    finally:
        task.cancel()
        side.guest.end()


async def version(link: Link) -> str:
    body = await link.call("grpc.Health", "Version", b"")
    return health_pb2.VersionCheckResponse.FromString(body).agent_version


@pytest.mark.parametrize("protocol", [TTRPC, AUTO])
async def test_an_agent_that_speaks_ttrpc_is_found_and_talked_to(
    tmp_path: Path, protocol: AgentProtocol
):
    async with linked(tmp_path, protocol, refusals=3) as side:
        assert side.link.protocol == monitor.TTRPC
        assert await version(side.link) == "3.30.0"
        assert side.warnings == []
        direct = KataAgent(timeout=WAIT)  # with noProxy everybody has a connection of his own
        await direct.connect(side.vsock.url, timeout=WAIT)
        assert (await direct.info()).protocol == "ttrpc"
        await direct.close()


@pytest.mark.parametrize("protocol", [GRPC, AUTO])
async def test_an_agent_that_speaks_grpc_is_found_and_each_client_has_a_connection(
    tmp_path: Path, protocol: AgentProtocol
):
    async with linked(tmp_path, protocol, "vctui.protocol=grpc", refusals=3) as side:
        assert side.link.protocol == monitor.GRPC
        assert await version(side.link) == "1.12.1"
        before = side.vsock.clients
        others = [Session.over_unix(side.served) for _ in range(3)]
        answers = [one.call("grpc.Health", "Check", timeout=WAIT) for one in others]
        assert await asyncio.gather(*answers) == [b"\x08\x01"] * 3
        assert side.vsock.clients == before + 3
        for one in others:
            await one.close()
    assert not side.served.exists()


@pytest.mark.parametrize("protocol", [TTRPC, GRPC, AUTO])
async def test_a_device_that_nobody_serves_any_more_is_given_up(
    tmp_path: Path, protocol: AgentProtocol, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(vsock_link, "_UNSERVED", 0.2)
    warnings: list[str] = []
    link = vsock_link.make(protocol, tmp_path / monitor.PROXY, warnings.append)
    link.reached_at(f"hvsock://{tmp_path / 'vsock.sock'}:1024")
    async with asyncio.timeout(WAIT):
        await link.run(adopting=True)
    assert "vsock device has ended; restart the pod" in link.given_up
    assert warnings == [link.given_up]
    with pytest.raises(ConnectionLost, match="restart the pod"):
        await link.call("grpc.Health", "Check", b"")
    await link.close()


@pytest.mark.parametrize("protocol", [TTRPC, GRPC])
async def test_an_agent_that_goes_away_is_found_again(tmp_path: Path, protocol: AgentProtocol):
    words = ("vctui.protocol=grpc",) if protocol is GRPC else ()
    async with linked(tmp_path, protocol, *words) as side:
        waiting = asyncio.create_task(side.link.call("grpc.AgentService", "GetOOMEvent", b""))
        await side.link.call("grpc.Health", "Check", b"")
        side.guest.end()
        with contextlib.suppress(ConnectionLost):
            await waiting
        (tmp_path / "again").mkdir()
        side.guest = Guest(tmp_path / "again", *words)
        side.vsock.inside = side.guest.socket
        while True:
            await side.link.ready()
            try:
                await side.link.call("grpc.Health", "Check", b"")
                break
            except ConnectionLost:
                await asyncio.sleep(0.01)
        assert side.warnings == []


async def test_nothing_of_one_connection_is_expected_on_the_next(tmp_path: Path):
    """Streams begin with 1 again, and no left-overs are looked for."""
    listening = sockets.listen(tmp_path / "vsock.sock")
    loop = asyncio.get_running_loop()
    link = vsock_link.make(TTRPC, tmp_path / monitor.PROXY, print)
    link.reached_at(f"hvsock://{tmp_path / 'vsock.sock'}:1024")
    task = asyncio.create_task(link.run(adopting=True))
    async with asyncio.timeout(WAIT):
        for _ in range(2):
            client: socket.socket
            client, _ = await loop.sock_accept(listening)
            with client:
                line = await loop.sock_recv(client, len(b"CONNECT 1024\n"))
                assert line == b"CONNECT 1024\n"
                await loop.sock_sendall(client, b"OK 1\n")
                assert (await loop.sock_recv(client, 1000))[4:8] == b"\0\0\0\1"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await link.close()
    listening.close()
