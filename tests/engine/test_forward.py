"""Port forwarding: to a pod whose network is this host's own loopback device."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from tests.engine.conftest import pod
from vctui.engine import forward as forwarding
from vctui.engine.runtime import Runtime
from vctui.errors import HostProblem, NotFound, WrongState
from vctui.linux import probe, relay
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Endpoint, Interface, PodNetwork
from vctui.model.ports import PortPair

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HERE = "127.0.0.77"


def network(*addresses: str) -> PodNetwork:
    interface = Interface(name="eth0", mac="02:00:00:00:00:01", mtu=1500, addresses=addresses)
    endpoint = Endpoint(
        type=EndpointType.VETH,
        index=0,
        interface=interface,
        model=NetInterworkingModel.BRIDGED,
    )
    return PodNetwork(namespace="/nowhere", created=True, endpoints=(endpoint,))


def give(runtime: Runtime, *addresses: str) -> None:
    store = runtime._reading.store
    with store.transaction() as tx:
        tx.save_pod(msgspec.structs.replace(tx.pod("web"), network=network(*addresses)))


@pytest.fixture
async def web(runtime: Runtime) -> Runtime:
    """A runtime whose pod `web` has this host's loopback device for a network."""
    await runtime.run_pod(pod())
    give(runtime, f"{HERE}/8")
    return runtime


@contextlib.asynccontextmanager
async def service(serve: Serve) -> AsyncIterator[int]:
    """Something in the pod that listens; its port."""
    served: list[asyncio.StreamWriter] = []

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_and_close, HERE, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in served:
            await relay.close(writer)


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers when all is said, as only a half-closed connection can."""
    said = await reader.read()
    writer.write(said.upper())


async def ask(address: str, port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        await relay.close(writer)


async def test_both_directions_are_carried_and_ended_one_by_one(web):
    async with (
        service(shout) as port,
        web.port_forward("web", [PortPair(0, port)]) as forward,
    ):
        assert {one.pod_port for one in forward.bound} == {port}
        assert {one.address for one in forward.bound} <= {"127.0.0.1", "::1"}
        assert len({one.host_port for one in forward.bound}) == 1
        for one in forward.bound:
            assert await ask(one.address, one.host_port, b"half closed") == b"HALF CLOSED"


async def test_much_goes_through_unchanged(web):
    sent = bytes(range(256)) * 8192

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()

    async with service(echo) as port, web.port_forward("web", [PortPair(0, port)]) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.bound[0].host_port)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        await relay.close(writer)


async def test_several_pairs_and_many_connections_at_once(web):
    async with service(shout) as one, service(shout) as other:
        pairs = [PortPair(0, one), PortPair(0, other)]
        async with web.port_forward("web", pairs) as forward:
            ports = {each.host_port for each in forward.bound}
            assert len(ports) == 2
            asked = [ask("127.0.0.1", port, b"hi %d" % n) for port in ports for n in range(60)]
            answers = await asyncio.gather(*asked)
            assert sorted(answers) == sorted(b"HI %d" % n for n in range(60) for _ in ports)


async def test_more_than_enough_connections_are_refused(web, monkeypatch):
    monkeypatch.setattr(forwarding, "_MAX_CONNECTIONS", 2)
    told: list[str] = []
    async with (
        service(shout) as port,
        web.port_forward("web", [PortPair(0, port)], tell=told.append) as forward,
    ):
        host_port = forward.bound[0].host_port
        held = [await asyncio.open_connection("127.0.0.1", host_port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", host_port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert told == ["2 connections are open; another one was refused"]
        for _, each in (*held, (reader, writer)):
            await relay.close(each)


async def test_a_connection_that_breaks_breaks_the_other_side(web):
    broken = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
            await reader.read()
        except ConnectionResetError:
            broken.set()

    async with service(wait) as port, web.port_forward("web", [PortPair(0, port)]) as forward:
        _reader, writer = await asyncio.open_connection("127.0.0.1", forward.bound[0].host_port)
        writer.write(b"x")
        await writer.drain()
        linger = b"\1\0\0\0\0\0\0\0"  # close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await relay.close(writer)
        async with asyncio.timeout(5):
            await broken.wait()


async def test_nobody_listening_in_the_pod_is_said(web):
    async with service(shout) as port:
        pass
    told: list[str] = []
    async with web.port_forward("web", [PortPair(0, port)], tell=told.append) as forward:
        with contextlib.suppress(ConnectionResetError):
            assert await ask("127.0.0.1", forward.bound[0].host_port, b"hi") == b""
    assert len(told) == 1
    assert told[0].startswith(f"the host gets to nobody on port {port} of pod 'web', and not to")


@pytest.fixture
def far(monkeypatch) -> str:
    """An address that nobody answers at; nothing is sent there."""
    far, connect = "192.0.2.1", asyncio.open_connection

    async def open_connection(address: str, port: int) -> relay.Connection:
        if address == far:
            await asyncio.Event().wait()
        return await connect(address, port)

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    monkeypatch.setattr(forwarding, "_CONNECT_PATIENCE", 0.05)
    return far


async def test_a_second_address_is_tried_where_the_first_leads_nowhere(web, far):
    give(web, f"{far}/24", "fe80::1/64", f"{HERE}/8")
    async with service(shout) as port, web.port_forward("web", [PortPair(0, port)]) as forward:
        assert await ask("127.0.0.1", forward.bound[0].host_port, b"hi") == b"HI"


async def test_a_pod_that_does_not_answer_is_said(web, far):
    give(web, f"{far}/24", "fe80::1/64")
    told: list[str] = []
    async with web.port_forward("web", [PortPair(0, 80)], tell=told.append) as forward:
        with contextlib.suppress(ConnectionResetError):
            await ask("127.0.0.1", forward.bound[0].host_port, b"hi")
    assert told[0].startswith("the host gets to nobody on port 80 of pod 'web', and not to its")


async def test_the_pods_end_ends_the_forwarding(web):
    async with service(shout) as port, web.port_forward("web", [PortPair(0, port)]) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.bound[0].host_port)
        watching = asyncio.create_task(forward.until_pod_ends())
        await asyncio.sleep(0)
        await web.stop_pod("web")
        with pytest.raises(WrongState, match="pod 'web' is stopped, so no port leads to it"):
            async with asyncio.timeout(10):
                await watching
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    await relay.close(writer)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", forward.bound[0].host_port)


async def test_a_pod_that_is_not_there_or_does_not_run_is_refused(runtime):
    with pytest.raises(NotFound):
        async with runtime.port_forward("web", [PortPair(0, 80)]):
            pass
    await runtime.create_pod(pod())
    with pytest.raises(WrongState, match="start it first"):
        async with runtime.port_forward("web", [PortPair(0, 80)]):
            pass


async def test_a_port_that_is_taken_is_named_and_nothing_listens_then(web):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as spare:
            free = spare.getsockname()[1]
        with pytest.raises(HostProblem, match=f"cannot listen on port {port} of 127.0.0.1"):
            async with web.port_forward("web", [PortPair(free, 80), PortPair(port, 80)]):
                pass
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", free)


async def test_it_listens_only_where_it_is_told_to(web):
    async with web.port_forward("web", [PortPair(0, 80)], addresses=("127.0.0.5",)) as forward:
        assert [one.address for one in forward.bound] == ["127.0.0.5"]
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", forward.bound[0].host_port)


async def test_without_ipv6_it_does_without(web, monkeypatch):
    monkeypatch.setattr(probe, "has_ipv6", lambda: False)
    async with web.port_forward("web", [PortPair(0, 80)]) as forward:
        assert [one.address for one in forward.bound] == ["127.0.0.1"]
