"""The way to an agent that speaks gRPC over yamux: our own agent's 1.x face on a socket, and
guests that do as they like."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.companions.conftest import until
from tests.companions.serial_agent import AGENT, WAIT, Agents, channel, start
from vctui.companions.monitor import port
from vctui.companions.monitor.grpc_link import GrpcLink
from vctui.drivers.grpc_client import Session
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.wire import ttrpc, yamux
from vctui.wire.pb import agent_pb2, health_pb2


class Side:
    """A link, what it warned of, and where its clients connect."""

    def __init__(self, folder: Path) -> None:
        self.channel = folder / "agent.sock"
        self.served = folder / "proxy.sock"
        self.warnings: list[str] = []
        self.link = GrpcLink(self.channel, self.served, self.warnings.append)

    @asynccontextmanager
    async def running(self, *, adopting: bool = False) -> AsyncIterator[GrpcLink]:
        task = asyncio.create_task(self.link.run(adopting=adopting))
        self.link.port_opened()
        try:
            yield self.link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.link.close()


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[tuple[Side, Agents]]:
    side, agents = Side(tmp_path), Agents(tmp_path)
    try:
        async with (
            asyncio.timeout(WAIT * 2),
            channel(side.channel, agents.serve),
            side.running() as link,
        ):
            await link.ready()
            yield side, agents
    finally:
        agents.end()


def stream(exec_id: str = "c1") -> bytes:
    request = agent_pb2.ReadStreamRequest(container_id="c1", exec_id=exec_id, len=65536)
    return request.SerializeToString()


async def read_all(session: Session) -> tuple[bytes, CallFailed]:
    """What the container writes, and how the stream's end is told."""
    output = b""
    while True:
        try:
            body = await session.call(AGENT, "ReadStdout", stream(), timeout=WAIT)
        except CallFailed as ended:
            return output, ended
        output += agent_pb2.ReadStreamResponse.FromString(body).data


async def test_the_agents_health_and_version_are_answered(tmp_path: Path):
    async with connected(tmp_path) as (side, _):
        body = await side.link.call("grpc.Health", "Version", b"")
        assert health_pb2.VersionCheckResponse.FromString(body).agent_version == "1.12.1"
        assert not await side.link.remembers_ended()
    assert not side.served.exists()


async def test_many_clients_have_a_stream_each_and_much_output_arrives_whole(tmp_path: Path):
    async with connected(tmp_path) as (side, _):
        session = Session.over_unix(side.served)
        others = [Session.over_unix(side.served) for _ in range(5)]
        try:
            await start(session, "/bin/sh", "-c", "seq 1 300000; exec >&2; echo done")
            output, ended = await read_all(session)
            assert (ended.code, ended.message) == (ttrpc.UNKNOWN, "EOF")
            assert output == b"".join(b"%d\n" % number for number in range(1, 300001))
            answers = [one.call("grpc.Health", "Check", timeout=WAIT) for one in others]
            assert await asyncio.gather(*answers) == [b"\x08\x01"] * 5
            body = await others[0].call(AGENT, "WaitProcess", stream(), timeout=WAIT)
            assert agent_pb2.WaitProcessResponse.FromString(body).status == 0
            with pytest.raises(CallFailed) as gone:
                await session.call(AGENT, "WaitProcess", stream(), timeout=WAIT)
            assert gone.value.code == ttrpc.NOT_FOUND
        finally:
            for one in (session, *others):
                await one.close()


async def test_a_large_request_and_its_answer_pass_the_windows(tmp_path: Path):
    async with connected(tmp_path) as (side, _):
        session = Session.over_unix(side.served)
        try:
            await start(session, "/bin/cat")
            sent = os.urandom(3 * 1024 * 1024)
            got = b""

            async def write() -> None:
                request = agent_pb2.WriteStreamRequest(container_id="c1", exec_id="c1", data=sent)
                await session.call(AGENT, "WriteStdin", request.SerializeToString(), timeout=WAIT)

            writing = asyncio.create_task(write())
            while len(got) < len(sent):
                body = await session.call(AGENT, "ReadStdout", stream(), timeout=WAIT)
                got += agent_pb2.ReadStreamResponse.FromString(body).data
            await writing
            assert got == sent
        finally:
            await session.close()


async def test_time_outs_and_unknown_calls_have_their_errors(tmp_path: Path):
    async with connected(tmp_path) as (side, _):
        session = Session.over_unix(side.served)
        try:
            with pytest.raises(CallFailed) as unknown:
                await session.call(AGENT, "Dance", timeout=WAIT)
            assert unknown.value.code == ttrpc.UNIMPLEMENTED
            with pytest.raises(CallFailed) as early:
                await session.call(AGENT, "ReadStdout", stream(), timeout=WAIT)
            assert early.value.code == ttrpc.FAILED_PRECONDITION
            await start(session, "/bin/sleep", "1000")
            with pytest.raises(TimeoutError):
                await session.call(AGENT, "ReadStdout", stream(), timeout=0.2)
        finally:
            await session.close()


async def test_an_agent_that_starts_anew_is_found_again(tmp_path: Path):
    async with connected(tmp_path) as (side, agents):
        agents.started[0].kill()
        while len(agents.started) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while True:
            await side.link.ready()
            try:
                await side.link.call("grpc.Health", "Check", b"")
                break
            except ConnectionLost:
                await asyncio.sleep(0.02)
        assert side.warnings == []


async def test_calls_on_a_channel_that_closes_fail_at_once(tmp_path: Path):
    async with connected(tmp_path) as (side, _):
        await start(Session.over_unix(side.served), "/bin/sleep", "1000")
        waiting = asyncio.create_task(side.link.call(AGENT, "ReadStdout", stream()))
        await side.link.call("grpc.Health", "Check", b"")
        side.link.port_closed()
        with pytest.raises(ConnectionLost):
            await waiting


async def test_nothing_of_a_guest_is_left_on_this_host(tmp_path: Path):
    async with connected(tmp_path) as (side, _):
        session = Session.over_unix(side.served)
        await start(session, "/bin/sh", "-c", "echo $$; exec sleep 1000")
        body = await session.call(AGENT, "ReadStdout", stream(), timeout=WAIT)
        program = Path("/proc", agent_pb2.ReadStreamResponse.FromString(body).data.decode().strip())
        assert (program / "exe").exists()
        await session.close()
    await until(lambda: not (program / "exe").exists())


async def test_left_overs_of_an_earlier_session_are_passed_over(tmp_path: Path):
    side = Side(tmp_path)
    heard = asyncio.Event()

    async def serve(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(
            sock, b"\xff" * 700 + struct.pack(">BBHII", 0, 0, 0, 9, 4) + b"tail"
        )
        session = yamux.Session(client=False)
        while data := await loop.sock_recv(sock, 65536):
            for event in session.receive(data):
                if isinstance(event, yamux.Opened):
                    heard.set()
            await loop.sock_sendall(sock, session.take())

    async with asyncio.timeout(WAIT), channel(side.channel, serve), side.running():
        await heard.wait()
    assert side.warnings == []


async def test_a_guest_that_breaks_yamux_is_given_up_after_some_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(port, "SETTLE", 0.05)  # this one never closes its port
    side = Side(tmp_path)

    async def serve(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        session = yamux.Session(client=False)
        list(session.receive(await loop.sock_recv(sock, 65536)))
        await loop.sock_sendall(sock, session.take() + b"\x07 garbage garbage")
        while await loop.sock_recv(sock, 65536):
            pass

    async with asyncio.timeout(WAIT), channel(side.channel, serve), side.running() as link:
        while not link.given_up:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        with pytest.raises(ConnectionLost, match="garbage"):
            await link.call("grpc.Health", "Check", b"")
    assert len(side.warnings) == 4
    assert "restart the pod" in side.warnings[-1]


async def test_an_agent_that_says_that_it_speaks_ttrpc_is_given_up_at_once(tmp_path: Path):
    side, agents = Side(tmp_path), Agents(tmp_path, "vctui.protocol=ttrpc")
    try:
        async with (
            asyncio.timeout(WAIT),
            channel(side.channel, agents.serve),
            side.running() as link,
        ):
            while not link.given_up:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert "it speaks ttrpc, not grpc" in link.given_up
        assert (side.warnings, len(agents.started)) == ([], 1)
    finally:
        agents.end()
