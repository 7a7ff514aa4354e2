"""A machine with a vsock device that somebody else serves: QEMU's side of vhost-user, and the
guest's driver."""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import struct

from tests.fakes.virtio_guest import DriverQueue
from vctui.wire import vhost_user, vsock
from vctui.wire.vhost_user import Reader, Request
from vctui.wire.vsock import Header

SIZE = 16
ROOM = 4096
MEMORY = 8 * 1024 * 1024
GUEST, USER = 0x1000_0000, 0x7000_0000_0000
CID = 3


class VsockMachine:
    """`device_end` is for the device."""

    def __init__(self) -> None:
        self.device_end, self._ours = socket.socketpair()
        self._ours.setblocking(False)
        self._reader = Reader()
        self.file = os.memfd_create("memory", os.MFD_CLOEXEC)
        os.truncate(self.file, MEMORY)
        self.buffer = memoryview(mmap.mmap(self.file, MEMORY))
        arena = 64 * 1024
        self.rx = DriverQueue(self.buffer, 0, SIZE, guest_base=GUEST, arena=arena)
        self.tx = DriverQueue(self.buffer, 8192, SIZE, guest_base=GUEST, arena=arena + SIZE * 70000)
        self.kicks = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2)]
        self.calls = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2)]
        self.base = [0, 0]
        self._arrived: list[tuple[Header, bytes]] = []
        self._called = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.calls[0], self._interrupt)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.calls[0])
        self._ours.close()
        for descriptor in (self.file, *self.kicks, *self.calls):
            os.close(descriptor)

    # QEMU's side

    async def tell(self, request: int, body: bytes = b"", *descriptors: int) -> None:
        data = vhost_user.encode(request, body)
        socket.send_fds(self._ours, [data], list(descriptors))

    async def ask(self, request: int, body: bytes = b"", *descriptors: int) -> bytes:
        """The answer's body; b"" once the device has hung up."""
        data = vhost_user.encode(request, body, wants_reply=True)
        socket.send_fds(self._ours, [data], list(descriptors))
        loop = asyncio.get_running_loop()
        while True:
            got = await loop.sock_recv(self._ours, self._reader.wanted)
            if not got:
                return b""
            if (message := self._reader.feed(got)) is not None:
                return message.body

    async def boot(self, *, slots: bool = True) -> None:
        """As QEMU does when the guest's driver is ready."""
        await self.ask(Request.GET_FEATURES)
        features = vhost_user.VIRTIO_1 | vhost_user.PROTOCOL_FEATURES
        offered = await self.ask(Request.GET_PROTOCOL_FEATURES)
        await self.tell(Request.SET_PROTOCOL_FEATURES, offered)
        await self.tell(Request.SET_OWNER)
        await self.tell(Request.SET_FEATURES, vhost_user.u64(features))
        region = struct.pack("<QQQQ", GUEST, MEMORY, USER, 0)
        if slots:
            await self.ask(Request.ADD_MEM_REG, bytes(8) + region, self.file)
        else:
            await self.ask(Request.SET_MEM_TABLE, struct.pack("<II", 1, 0) + region, self.file)
        await self.go_on()

    async def go_on(self) -> None:
        """Start the queues, from where they were stopped."""
        for index, queue in enumerate((self.rx, self.tx)):
            places = (USER + queue.descriptors, USER + queue.used, USER + queue.available)
            await self.tell(Request.SET_VRING_NUM, vhost_user.state(index, SIZE))
            await self.tell(Request.SET_VRING_BASE, vhost_user.state(index, self.base[index]))
            addresses = struct.pack("<IIQQQQ", index, 0, *places, 0)
            await self.tell(Request.SET_VRING_ADDR, addresses)
            number = vhost_user.u64(index)
            await self.tell(Request.SET_VRING_KICK, number, self.kicks[index])
            await self.tell(Request.SET_VRING_CALL, number, self.calls[index])
            await self.ask(Request.SET_VRING_ENABLE, vhost_user.state(index, 1))

    async def pause(self) -> None:
        """Stop the queues, as when the machine is paused or its driver is reset."""
        for index in range(2):
            answer = await self.ask(Request.GET_VRING_BASE, vhost_user.state(index, 0))
            self.base[index] = vhost_user.parse_state(answer)[1]

    # the guest's side

    def offer_room(self, count: int = 1) -> None:
        for _ in range(count):
            self.rx.room(vsock.HEADER_SIZE, ROOM)
        os.eventfd_write(self.kicks[0], 1)

    def send(self, header: Header, payload: bytes = b"", *, split: int = 0) -> None:
        self.tx.returned()
        self.tx.post(header.encode() + payload, split=split)
        os.eventfd_write(self.kicks[1], 1)

    def packet(
        self, op: int, *, host: int, guest: int, payload: bytes = b"", **fields: int
    ) -> None:
        """A packet from the guest's port to the host's."""
        header = Header(
            **{
                "src_cid": CID,
                "dst_cid": vsock.HOST,
                "src_port": guest,
                "dst_port": host,
                "length": len(payload),
                "type": vsock.STREAM,
                "op": op,
                "buf_alloc": 65536,
                **fields,
            }
        )
        self.send(header, payload)

    async def received(self) -> tuple[Header, bytes]:
        """The next packet for the guest."""
        while not self._arrived:
            self._called.clear()
            self._collect()
            if not self._arrived:
                await self._called.wait()
        return self._arrived.pop(0)

    async def expect(self, op: int) -> tuple[Header, bytes]:
        header, payload = await self.received()
        assert header.op == op, header
        return header, payload

    def _interrupt(self) -> None:
        os.eventfd_read(self.calls[0])
        self._called.set()

    def _collect(self) -> None:
        for data in self.rx.returned():
            header = vsock.decode(data[: vsock.HEADER_SIZE])
            self._arrived.append((header, data[vsock.HEADER_SIZE :]))
            assert header.length == len(data) - vsock.HEADER_SIZE
