"""The vsock device that we serve: connections both ways, credit, pauses, and guests that cheat."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.vsock_machine import CID, GUEST, MEMORY, ROOM, USER, VsockMachine
from vctui.companions.vsock import switch as switching
from vctui.companions.vsock.device import Device
from vctui.companions.vsock.switch import Switch
from vctui.linux import sockets
from vctui.linux import vsock as host
from vctui.wire import vhost_user, vsock
from vctui.wire.vhost_user import Request
from vctui.wire.vsock import Header

WAIT = 20.0
PORT = 1024
BOTH = vsock.NO_RECEIVE | vsock.NO_SEND


@dataclass
class Side:
    path: Path
    machine: VsockMachine
    device: Device
    warnings: list[str] = field(default_factory=list)

    async def client(self) -> asyncio.Task[socket.socket]:
        return asyncio.create_task(sockets.connect_hybrid(self.path, PORT))

    async def open(self) -> tuple[socket.socket, int]:
        """A client's connection that the guest has taken, and its port on the host."""
        connecting = await self.client()
        header, _ = await self.machine.expect(vsock.REQUEST)
        assert (header.dst_cid, header.dst_port, header.src_cid) == (CID, PORT, vsock.HOST)
        self.machine.packet(vsock.RESPONSE, host=header.src_port, guest=PORT)
        return await connecting, header.src_port


@asynccontextmanager
async def serving(tmp_path: Path, *, boot: bool = True, room: int = 8) -> AsyncIterator[Side]:
    path = tmp_path / "vsock.sock"
    machine = VsockMachine()
    switch = Switch(path, CID)
    warnings: list[str] = []
    device = Device(machine.device_end, switch, warnings.append)
    listening = sockets.listen(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(switch.client, sock=listening)
    try:
        async with asyncio.timeout(WAIT):
            if boot:
                await machine.boot()
                machine.offer_room(room)
            yield Side(path, machine, device, warnings)
    finally:
        await sockets.stop(server)
        device.close()
        await switch.close()
        machine.close()


async def recv_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        got = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        assert got, f"{len(data)} of {count} bytes"
        data += got
    return data


async def test_a_client_reaches_a_port_of_the_guest_and_bytes_pass_both_ways(tmp_path: Path):
    async with serving(tmp_path) as side:
        client, port = await side.open()
        loop = asyncio.get_running_loop()
        with client:
            await loop.sock_sendall(client, b"from the host")
            header, payload = await side.machine.expect(vsock.RW)
            assert (header.dst_port, payload) == (PORT, b"from the host")
            side.machine.packet(vsock.RW, host=port, guest=PORT, payload=b"from the guest")
            assert await loop.sock_recv(client, 100) == b"from the guest"
        header, _ = await side.machine.expect(vsock.SHUTDOWN)
        assert header.flags == BOTH
        side.machine.packet(vsock.RST, host=port, guest=PORT)


async def test_a_url_of_a_hybrid_socket_is_dialled(tmp_path: Path):
    async with serving(tmp_path) as side:
        dialling = asyncio.create_task(host.dial(f"hvsock://{side.path}:{PORT}"))
        header, _ = await side.machine.expect(vsock.REQUEST)
        side.machine.packet(vsock.RESPONSE, host=header.src_port, guest=PORT)
        # what the agent says at once belongs to who reads next
        side.machine.packet(vsock.RW, host=header.src_port, guest=PORT, payload=b"OK 1\nfirst")
        with await dialling as client:
            assert await recv_exactly(client, 10) == b"OK 1\nfirst"


async def test_a_port_where_nobody_listens_refuses_at_once(tmp_path: Path):
    async with serving(tmp_path) as side:
        connecting = await side.client()
        header, _ = await side.machine.expect(vsock.REQUEST)
        side.machine.packet(vsock.RST, host=header.src_port, guest=PORT)
        with pytest.raises(ConnectionResetError, match="nobody listens on port 1024"):
            await connecting


async def test_clients_wait_for_a_guest_that_still_boots(tmp_path: Path):
    async with serving(tmp_path, boot=False) as side:
        connecting = await side.client()
        await asyncio.sleep(0)
        await side.machine.boot(slots=False)
        side.machine.offer_room(4)
        header, _ = await side.machine.expect(vsock.REQUEST)
        side.machine.packet(vsock.RESPONSE, host=header.src_port, guest=PORT)
        (await connecting).close()


async def test_a_client_that_leaves_before_the_guest_is_there_is_never_asked_for(tmp_path: Path):
    async with serving(tmp_path, boot=False) as side:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            with await sockets.connect(side.path) as client:
                await loop.sock_sendall(client, vsock.connect_line(PORT))
                client.shutdown(socket.SHUT_WR)
                assert await loop.sock_recv(client, 10) == b""
        await side.machine.boot()
        side.machine.offer_room(4)
        connecting = await side.client()
        header, _ = await side.machine.expect(vsock.REQUEST)
        assert header.src_port == (1 << 30) + 3
        side.machine.packet(vsock.RST, host=header.src_port, guest=PORT)
        with pytest.raises(ConnectionResetError):
            await connecting


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n", b"CONNECT none\n", b"x" * 100])
async def test_a_client_that_says_something_else_is_hung_up_on(tmp_path: Path, words: bytes):
    async with serving(tmp_path) as side:
        loop = asyncio.get_running_loop()
        with await sockets.connect(side.path) as client:
            await loop.sock_sendall(client, words)
            with contextlib.suppress(ConnectionResetError):
                assert await loop.sock_recv(client, 10) == b""


async def test_the_guest_reaches_a_socket_of_the_host(tmp_path: Path):
    async with serving(tmp_path) as side:
        loop = asyncio.get_running_loop()
        with sockets.listen(tmp_path / "vsock.sock_77") as listening:
            side.machine.packet(vsock.REQUEST, host=77, guest=5000)
            ours, _ = await loop.sock_accept(listening)
            header, _ = await side.machine.expect(vsock.RESPONSE)
            assert (header.src_port, header.dst_port) == (77, 5000)
            with ours:
                side.machine.packet(vsock.RW, host=77, guest=5000, payload=b"a log line")
                assert await loop.sock_recv(ours, 100) == b"a log line"
                side.machine.packet(vsock.SHUTDOWN, host=77, guest=5000, flags=BOTH)
                await side.machine.expect(vsock.RST)
                assert await loop.sock_recv(ours, 100) == b""
        side.machine.packet(vsock.REQUEST, host=78, guest=5001)
        header, _ = await side.machine.expect(vsock.RST)
        assert (header.src_port, header.dst_port) == (78, 5001)


async def test_a_side_that_is_ended_may_still_be_answered(tmp_path: Path):
    async with serving(tmp_path) as side:
        client, port = await side.open()
        loop = asyncio.get_running_loop()
        with client:
            client.shutdown(socket.SHUT_WR)
            header, _ = await side.machine.expect(vsock.SHUTDOWN)
            assert header.flags == vsock.NO_SEND
            side.machine.packet(vsock.RW, host=port, guest=PORT, payload=b"an answer")
            side.machine.packet(vsock.SHUTDOWN, host=port, guest=PORT, flags=vsock.NO_SEND)
            assert await recv_exactly(client, 9) == b"an answer"
            assert await loop.sock_recv(client, 10) == b""


async def test_no_more_is_sent_than_the_guest_has_room_for(tmp_path: Path):
    async with serving(tmp_path) as side:
        client, port = await side.open()
        data = os.urandom(300_000)
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(client, data))
        got = b""
        while len(got) < len(data):
            header, payload = await side.machine.received()
            side.machine.offer_room()
            if header.op == vsock.CREDIT_REQUEST or len(got) % 65536 + len(payload) >= 65536:
                got += payload
                side.machine.packet(
                    vsock.CREDIT_UPDATE, host=port, guest=PORT, fwd_cnt=len(got) % 2**32
                )
                continue
            assert header.op == vsock.RW
            assert len(payload) <= ROOM
            got += payload
        await sending
        assert got == data
        client.close()


async def test_a_guest_that_sends_more_than_there_is_room_for_is_cut_off(tmp_path: Path):
    async with serving(tmp_path) as side:
        client, port = await side.open()
        with client:
            for _ in range(40):  # nobody reads it
                side.machine.packet(vsock.RW, host=port, guest=PORT, payload=bytes(60000))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            while (await side.machine.received())[0].op != vsock.RST:
                side.machine.offer_room()


async def test_a_slow_client_holds_the_guest_back_and_loses_nothing(tmp_path: Path):
    async with serving(tmp_path) as side:
        client, port = await side.open()
        sent, room, forwarded = 0, 256 * 1024, 0
        total = 3_000_000

        async def guest() -> None:
            nonlocal sent, room, forwarded
            while sent < total:
                count = min(50_000, total - sent, room - (sent - forwarded))
                if count > 0:
                    payload = bytes([sent // 50_000 % 256]) * count
                    side.machine.packet(vsock.RW, host=port, guest=PORT, payload=payload)
                    sent += count
                    await asyncio.sleep(0)
                    continue
                header, _ = await side.machine.received()
                side.machine.offer_room()
                forwarded = header.fwd_cnt

        talking = asyncio.create_task(guest())
        with client:
            assert len(await recv_exactly(client, total)) == total
        await talking


async def test_connections_outlive_a_pause(tmp_path: Path):
    async with serving(tmp_path) as side:
        client, port = await side.open()
        loop = asyncio.get_running_loop()
        with client:
            await side.machine.pause()
            await loop.sock_sendall(client, b"said meanwhile")
            await side.machine.go_on()
            _, payload = await side.machine.expect(vsock.RW)
            assert payload == b"said meanwhile"
            side.machine.packet(vsock.RW, host=port, guest=PORT, payload=b"and back")
            assert await loop.sock_recv(client, 100) == b"and back"


async def test_memory_that_is_plugged_in_is_used_and_may_go_again(tmp_path: Path):
    async with serving(tmp_path) as side:
        more = struct.pack("<QQQQ", GUEST + MEMORY, 4096, USER + MEMORY, 0)
        assert await side.machine.ask(Request.ADD_MEM_REG, bytes(8) + more, side.machine.file)
        client, _ = await side.open()
        assert await side.machine.ask(Request.REM_MEM_REG, bytes(8) + more)
        with client:
            await asyncio.get_running_loop().sock_sendall(client, b"still here")
            assert (await side.machine.expect(vsock.RW))[1] == b"still here"


def _misfit(**fields: int) -> Header:
    usual = {"src_cid": CID, "dst_cid": 2, "src_port": 1, "dst_port": 2, "length": 0}
    return Header(**{**usual, "type": vsock.STREAM, "op": vsock.RW, **fields})


@pytest.mark.parametrize(
    "header",
    [
        _misfit(),
        _misfit(op=99),
        _misfit(op=vsock.RESPONSE),
        _misfit(op=vsock.CREDIT_REQUEST),
        _misfit(type=2, op=vsock.REQUEST),
    ],
)
async def test_packets_that_belong_nowhere_are_refused(tmp_path: Path, header: Header):
    async with serving(tmp_path) as side:
        side.machine.send(header)
        answer, _ = await side.machine.expect(vsock.RST)
        assert (answer.src_port, answer.dst_port) == (2, 1)


async def test_packets_of_others_and_resets_are_passed_over(tmp_path: Path):
    async with serving(tmp_path) as side:
        side.machine.send(_misfit(src_cid=9))
        side.machine.send(_misfit(dst_cid=77))
        side.machine.send(_misfit(op=vsock.RST))
        client, _ = await side.open()
        client.close()


@pytest.mark.parametrize(
    "packet",
    [
        b"short",
        _misfit(length=10).encode() + b"nine byte",
        _misfit(length=0xFFFFFFFF).encode() + b"x",
        _misfit(length=vsock.MAX_PAYLOAD + 1).encode() + bytes(vsock.MAX_PAYLOAD + 1),
    ],
)
async def test_a_driver_that_lies_is_served_no_more_until_it_starts_anew(
    tmp_path: Path, packet: bytes
):
    async with serving(tmp_path) as side:
        client, _ = await side.open()
        side.machine.tx.returned()
        side.machine.tx.post(packet)
        os.eventfd_write(side.machine.kicks[1], 1)
        with client, contextlib.suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(client, 10) == b""
        assert len(side.warnings) == 1
        assert side.warnings[0].startswith("the guest broke its vsock device")
        await side.machine.pause()
        assert not side.device.ended.done()


async def test_a_guest_that_takes_nothing_is_given_no_more_than_a_bounded_number(tmp_path: Path):
    async with serving(tmp_path, room=0) as side:
        sent = 0
        for _ in range(3000):
            returned = side.machine.tx._free
            side.machine.tx.returned()
            if not returned:
                break
            side.machine.send(_misfit())
            sent += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert sent < 2 * switching._BEHIND
        side.machine.offer_room(8)
        for _ in range(sent):  # then all are answered
            await side.machine.expect(vsock.RST)
            side.machine.offer_room()


async def test_a_guest_cannot_have_any_number_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(switching, "MAX_CONNECTIONS", 4)
    async with serving(tmp_path) as side:
        with sockets.listen(tmp_path / "vsock.sock_77"):
            for guest in range(5):
                side.machine.packet(vsock.REQUEST, host=77, guest=guest)
                header, _ = await side.machine.received()
                assert header.op == (vsock.RESPONSE if guest < 4 else vsock.RST)
                side.machine.offer_room()


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (99, b""),
        (Request.SET_VRING_NUM, vhost_user.state(2, 8)),
        (Request.SET_VRING_KICK, vhost_user.u64(0)),
        (Request.SET_VRING_KICK, vhost_user.u64(0x100)),
        (Request.SET_FEATURES, vhost_user.u64(1 << 40)),
        (Request.SET_MEM_TABLE, struct.pack("<II", 1, 0) + bytes(32)),
        (Request.ADD_MEM_REG, bytes(8) + struct.pack("<QQQQ", 0, MEMORY, 0, 4096)),
        (Request.SET_VRING_ADDR, b"short"),
    ],
)
async def test_who_breaks_vhost_user_is_hung_up_on(tmp_path: Path, request_: int, body: bytes):
    async with serving(tmp_path, boot=False) as side:
        descriptors = (side.machine.file,) if request_ == Request.ADD_MEM_REG else ()
        assert await side.machine.ask(request_, body, *descriptors) == b""
        assert side.device.ended.done()
        assert len(side.warnings) == 1


async def test_the_program_ends_with_qemu_and_leaves_nothing(tmp_path: Path):
    path = tmp_path / "vsock.sock"
    ours, theirs = socket.socketpair()
    listening = sockets.listen(path)
    program = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "vctui.companions.vsock"),
            *("--socket", str(path)),
            *("--vhost-fd", str(theirs.fileno())),
            *("--listen-fd", str(listening.fileno())),
        ],
        pass_fds=(theirs.fileno(), listening.fileno()),
        stderr=subprocess.PIPE,
    )
    listening.close()
    theirs.close()
    ours.sendall(vhost_user.encode(Request.GET_FEATURES))
    assert ours.recv(100)
    ours.close()
    assert program.communicate(timeout=WAIT)[1] == b""
    assert program.returncode == 0
    assert not path.exists()


def test_the_program_says_how_it_is_called():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vctui.companions.vsock", "--socket"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"usage: python -m vctui.companions.vsock --socket VALUE" in done.stderr
