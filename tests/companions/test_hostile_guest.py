"""A guest may send anything: the pod's own monitor, its clients and the host stay well."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.companions.conftest import POD, WAIT, Pod, until
from vctui.drivers import monitor_client, ttrpc_client
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import sockets
from vctui.model.events import EventKind
from vctui.model.state import State
from vctui.wire import ttrpc
from vctui.wire.pb import ttrpc_pb2


async def test_answers_that_nobody_asked_for_are_ignored(ready: Pod):
    for stream_id in (0, 2, 999_999, 2**32 - 1):
        ready.agent.send_raw(ttrpc.encode(stream_id, ttrpc.RESPONSE, b"x"))
    ready.agent.send_raw(ttrpc.encode(1, ttrpc.REQUEST, b"x"))
    assert (await ready.await_agent()).agent_open
    async with monitor_client.connected(ready.run_dir) as session:
        assert await session.call("grpc.Health", "Version", timeout=WAIT)


async def test_an_answer_that_is_too_long_is_an_error_of_that_call_alone(ready: Pod):
    ready.agent.silent.add("StatsContainer")
    async with monitor_client.connected(ready.run_dir) as session:
        asked = asyncio.create_task(
            session.call("grpc.AgentService", "StatsContainer", timeout=WAIT)
        )
        await ready.agent.until_called("StatsContainer")
        length = ttrpc.MAX_DATA + 1
        # the first stream was the health check, this is the second
        ready.agent.send_raw(length.to_bytes(4, "big") + b"\0\0\0\x03\x02\0" + bytes(length))
        with pytest.raises(CallFailed) as failed:
            await asked
        assert failed.value.code == ttrpc.RESOURCE_EXHAUSTED
        assert await session.call("grpc.Health", "Version", timeout=WAIT)


async def test_an_answer_that_cannot_be_decoded_is_an_error(ready: Pod):
    ready.agent.silent.add("StatsContainer")
    async with monitor_client.connected(ready.run_dir) as session:
        asked = asyncio.create_task(
            session.call("grpc.AgentService", "StatsContainer", timeout=WAIT)
        )
        await ready.agent.until_called("StatsContainer")
        ready.agent.send_raw(ttrpc.encode(3, ttrpc.RESPONSE, b"\xff\xff\xff"))
        with pytest.raises(CallFailed) as failed:
            await asked
    assert failed.value.code == ttrpc.INTERNAL


async def test_garbage_closes_the_channel_and_is_told(ready: Pod):
    process = ready.agent.process("c1")
    await ready.start_shim()
    ready.agent.send_raw(bytes(ttrpc.HEADER_SIZE) * 200)
    message = await ready.until_event(EventKind.WARNING)
    assert message == "the guest sent garbage on the agent's channel; it was opened anew"
    await until(lambda: ready.agent.connections == 2)
    assert (await ready.await_agent()).agent_open
    await process.end(9)
    assert await ready.shim.wait(ready.run_dir, "c1") == 9


async def test_a_guest_that_keeps_sending_garbage_is_given_up(ready: Pod):
    for connection in range(1, 5):
        await until(lambda wanted=connection: ready.agent.connections == wanted)
        await ready.await_agent()
        ready.agent.send_raw(bytes(ttrpc.HEADER_SIZE) * 200)
        await until(lambda wanted=connection: len(ready.events(EventKind.WARNING)) == wanted)
    assert ready.events(EventKind.WARNING)[-1].endswith("it stays closed, restart the pod")
    async with monitor_client.connected(ready.run_dir) as session:
        with pytest.raises(CallFailed, match="garbage"):
            await session.call("grpc.Health", "Version", timeout=WAIT)
    await ready.qemu.shut_down("guest-shutdown")
    await ready.until_event(EventKind.MACHINE_DIED)
    assert ready.store.pod(POD).state is State.STOPPED


async def test_random_bytes_never_end_the_monitor(ready: Pod):
    for socket in (ready.qemu.serial, ready.qemu.agent_log):
        await socket.send(os.urandom(300_000))
    ready.agent.send_raw(os.urandom(300_000))
    async with monitor_client.connected(ready.run_dir) as session:
        with pytest.raises((CallFailed, TimeoutError)):
            await session.call("vctui.Monitor", "NoSuchCall", timeout=WAIT)


@pytest.mark.parametrize("taken", [0, 5])
async def test_a_guest_that_lies_about_taken_input_is_not_believed(ready: Pod, taken: int):
    from vctui.wire.pb import agent_pb2

    async def lie(_body: bytes) -> bytes:
        return agent_pb2.WriteStreamResponse(len=taken).SerializeToString()

    process = ready.agent.process("c1")
    ready.agent.handlers["WriteStdin"] = lie
    await ready.start_shim()
    attachment = await ready.shim.attach(ready.run_dir, "c1")
    await attachment.write(b"abc")
    await ready.agent.until_called("WriteStdin")
    await process.end(0)
    assert await ready.shim.wait(ready.run_dir, "c1") == 0
    assert len([name for name, _ in ready.agent.calls if name == "WriteStdin"]) == 1
    await attachment.detach()


async def test_a_client_with_wrong_stream_ids_is_told(ready: Pod):
    request = ttrpc_client.request("vctui.Monitor", "Hello")
    for stream_id in (2, 0):
        response = await exchange(ready, ttrpc.encode(stream_id, ttrpc.REQUEST, request))
        assert response.status.code == ttrpc.INVALID_ARGUMENT


async def test_a_client_that_sends_garbage_is_told(ready: Pod):
    response = await exchange(ready, ttrpc.encode(1, ttrpc.REQUEST, b"\xff\xff"))
    assert response.status.code == ttrpc.INVALID_ARGUMENT
    too_long = (ttrpc.MAX_DATA + 1).to_bytes(4, "big") + b"\0\0\0\x01\x01\0"
    response = await exchange(ready, too_long)
    assert response.status.code == ttrpc.RESOURCE_EXHAUSTED


async def test_a_client_that_does_not_read_its_answers_is_cut_off_alone(ready: Pod):
    async def flood(_body: bytes) -> bytes:
        return bytes(3 << 20)

    ready.agent.handlers["GetMetrics"] = flood
    greedy = await sockets.connect(ready.run_dir / "monitor.sock")
    _, writer = await asyncio.open_unix_connection(sock=greedy, limit=1)
    request = ttrpc_client.request("grpc.AgentService", "GetMetrics")
    for number in range(16):
        writer.write(ttrpc.encode(2 * number + 1, ttrpc.REQUEST, request))
    await ready.agent.until_called("GetMetrics", 16)
    async with monitor_client.connected(ready.run_dir) as session:
        assert await session.call("grpc.Health", "Version", timeout=WAIT)
    writer.transport.abort()


async def exchange(pod: Pod, data: bytes) -> ttrpc_pb2.Response:
    """Send raw bytes to the monitor, and take one answer."""
    reader, writer = await sockets.open_connection(pod.run_dir / "monitor.sock")
    writer.write(data)
    decoder = ttrpc.Decoder()
    async with asyncio.timeout(WAIT):
        while chunk := await reader.read(65536):
            for frame in decoder.feed(chunk):
                writer.close()
                return ttrpc_pb2.Response.FromString(frame.data)
    raise AssertionError("no answer came")
