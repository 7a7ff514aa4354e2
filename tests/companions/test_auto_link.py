"""Which protocol an agent speaks is found out by asking it once, and the right link takes over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.companions.serial_agent import WAIT, Agents, channel
from tests.fakes.fake_agent import FakeAgent
from vctui.companions.monitor import auto_link, port
from vctui.companions.monitor.auto_link import AutoLink
from vctui.drivers.ttrpc_client import ConnectionLost
from vctui.wire import monitor
from vctui.wire.pb import health_pb2


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[AutoLink]:
    warnings: list[str] = []
    link = AutoLink(folder / "agent.sock", folder / "proxy.sock", warnings.append)
    task = asyncio.create_task(link.run(adopting=False))
    link.port_opened()
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()
    assert warnings == []


class Machine:
    """An agent that stays while the clients of its channel come and go."""

    def __init__(self, folder: Path, face: str) -> None:
        self._agents = Agents(folder, face)
        self._agent, self._port = socket.socketpair()
        self._port.setblocking(False)
        self._task = asyncio.create_task(self._agents.serve(self._agent))

    async def serve(self, client: socket.socket) -> None:
        ways = [
            asyncio.create_task(self._carry(client, self._port)),
            asyncio.create_task(self._carry(self._port, client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source: socket.socket, target: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, 65536):
            await loop.sock_sendall(target, data)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._port.close()
        self._agents.end()


@pytest.mark.parametrize(
    ("protocol", "version"), [(monitor.TTRPC, "3.30.0"), (monitor.GRPC, "1.12.1")]
)
async def test_our_agents_faces_are_told_apart(tmp_path: Path, protocol: str, version: str):
    machine = Machine(tmp_path, f"vctui.protocol={protocol}")
    try:
        async with (
            asyncio.timeout(WAIT),
            channel(tmp_path / "agent.sock", machine.serve),
            running(tmp_path) as link,
        ):
            await link.ready()
            assert link.protocol == protocol
            answer = await link.call("grpc.Health", "Version", b"")
            assert health_pb2.VersionCheckResponse.FromString(answer).agent_version == version
    finally:
        await machine.end()


async def test_who_says_nothing_to_a_ping_is_spoken_to_in_ttrpc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(auto_link, "_PATIENCE", 0.05)
    heard: list[bytes] = []

    async def serve(sock: socket.socket) -> None:
        while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
            heard.append(data)

    async with (
        asyncio.timeout(WAIT),
        channel(tmp_path / "agent.sock", serve),
        running(tmp_path) as link,
    ):
        with pytest.raises(ConnectionLost):
            await link.call("grpc.Health", "Check", b"")
        while not any(b"grpc.Health" in data for data in heard):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert link.protocol == monitor.TTRPC


async def test_a_channel_that_closes_while_it_is_asked_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(port, "SETTLE", 0.05)
    agents = Agents(tmp_path, "vctui.protocol=grpc")
    calls = 0

    async def serve(sock: socket.socket) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            await agents.serve(sock)

    try:
        async with (
            asyncio.timeout(WAIT),
            channel(tmp_path / "agent.sock", serve),
            running(tmp_path) as link,
        ):
            await link.ready()
            assert link.protocol == monitor.GRPC
    finally:
        agents.end()


async def test_an_agent_that_knows_ttrpc_alone_is_found_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It takes the ping for the beginning of a long request; a new connection begins anew."""
    monkeypatch.setattr(auto_link, "_PATIENCE", 0.05)
    async with (
        asyncio.timeout(WAIT),
        FakeAgent(tmp_path / "agent.sock") as agent,
        running(tmp_path) as link,
    ):
        await link.ready()
        assert link.protocol == monitor.TTRPC
        assert agent.connections == 2
