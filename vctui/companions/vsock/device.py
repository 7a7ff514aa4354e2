"""The device as QEMU sees it: its messages, the guest's memory, the two queues of packets.

QEMU serves the third queue, of events, itself. Queues stop while the machine is paused, and
connections outlive that.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vctui.companions.vsock.switch import Switch
from vctui.wire import vhost_user, vsock
from vctui.wire.vhost_user import Message, Region, Request, VhostUserError
from vctui.wire.virtqueue import BadRing, Chain, Memory, Piece, Queue

GUEST_CID: Final = 3
"""Each machine has a device of its own, so that all may have the same."""
_RX: Final = 0
_TX: Final = 1
_FEATURES: Final = vhost_user.VIRTIO_1 | vhost_user.PROTOCOL_FEATURES
_PROTOCOL_FEATURES: Final = (
    vhost_user.REPLY_ACK | vhost_user.CONFIG | vhost_user.CONFIGURE_MEM_SLOTS
)
_MEMORY_SLOTS: Final = 32
"""The machine's own memory in a few pieces, and what it is given while it runs."""
_TURN: Final = 64
"""Packets after which somebody else has a turn."""


@dataclass
class _Ring:
    """What QEMU has said of one queue so far."""

    size: int = 0
    base: int = 0
    addresses: vhost_user.Addresses | None = None
    kick: int = -1
    call: int = -1
    enabled: bool = False
    queue: Queue | None = field(default=None, repr=False)


class Device:
    """Serves one machine until QEMU closes the connection.

    Args:
        frontend: connected with QEMU's character device; closed at the end.
        warn: told in a sentence when somebody breaks the rules.
    """

    def __init__(
        self, frontend: socket.socket, switch: Switch, warn: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._frontend = frontend
        self._switch = switch
        self._warn = warn
        self._reader = vhost_user.Reader()
        self._descriptors: list[int] = []
        self._pieces: dict[tuple[int, int], Piece] = {}
        self._memory = Memory()
        self._rings = (_Ring(), _Ring())
        self._sending = False
        self._receiving = False
        self._held = False
        """Nothing is taken from the guest, as it does not take ours."""
        self.ended: asyncio.Future[None] = self._loop.create_future()
        switch.wake = self.send_soon
        frontend.setblocking(False)
        self._loop.add_reader(frontend, self._readable)

    def close(self) -> None:
        """Let go of the machine. Idempotent."""
        if self.ended.done():
            return
        self._loop.remove_reader(self._frontend)
        self._frontend.close()
        for index in range(len(self._rings)):
            self._stop(index)
        for ring in self._rings:
            _close(ring.call)
            ring.call = -1
        self._drop_descriptors()
        self._memory = Memory()
        self._pieces.clear()
        self.ended.set_result(None)

    # QEMU's messages

    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._frontend, self._reader.wanted, vhost_user.MAX_DESCRIPTORS
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self.close()
            return
        try:
            if len(self._descriptors) > vhost_user.MAX_DESCRIPTORS:
                raise VhostUserError("too many descriptors come with a message")
            message = self._reader.feed(data)
            if message is not None:
                self._take(message)
        except (VhostUserError, BadRing, OSError, ValueError) as error:
            self._warn(f"QEMU's side of the vsock device cannot be served: {error}")
            self.close()

    def _take(self, message: Message) -> None:
        answer = self._answer(message.request, message.body)
        self._drop_descriptors()
        if answer is None and message.wants_reply:
            answer = vhost_user.u64(0)
        if answer is not None:
            self._frontend.setblocking(True)  # QEMU waits for it
            try:
                self._frontend.sendall(vhost_user.encode(message.request, answer, reply=True))
            finally:
                self._frontend.setblocking(False)

    def _answer(self, request: int, body: bytes) -> bytes | None:
        match request:
            case Request.GET_FEATURES:
                return vhost_user.u64(_FEATURES)
            case Request.GET_PROTOCOL_FEATURES:
                return vhost_user.u64(_PROTOCOL_FEATURES)
            case Request.GET_CONFIG:
                return vhost_user.answer_config(body, vhost_user.u64(GUEST_CID))
            case Request.GET_MAX_MEM_SLOTS:
                return vhost_user.u64(_MEMORY_SLOTS)
            case Request.GET_VRING_BASE:
                index, _ = vhost_user.parse_state(body)
                self._stop(index)
                return vhost_user.state(index, self._ring(index).base)
        self._change(request, body)
        return None

    def _change(self, request: int, body: bytes) -> None:
        match request:
            case Request.SET_FEATURES:
                wanted = vhost_user.parse_u64(body)
                if wanted & ~_FEATURES:
                    raise VhostUserError(f"features {wanted:#x} were not offered")
                if not wanted & vhost_user.PROTOCOL_FEATURES:
                    for ring in self._rings:
                        ring.enabled = True
            case Request.SET_PROTOCOL_FEATURES | Request.SET_OWNER | Request.SET_CONFIG:
                pass
            case Request.RESET_OWNER:
                for index in range(len(self._rings)):
                    self._stop(index)
            case Request.SET_MEM_TABLE:
                self._pieces.clear()
                for region in vhost_user.parse_table(body):
                    self._map(region)
                self._remember_memory()
            case Request.ADD_MEM_REG:
                self._map(vhost_user.parse_region(body))
                self._remember_memory()
            case Request.REM_MEM_REG:
                region = vhost_user.parse_region(body)
                self._pieces.pop((region.guest, region.size), None)
                self._remember_memory()
            case _:
                self._change_ring(request, body)

    def _change_ring(self, request: int, body: bytes) -> None:
        match request:
            case Request.SET_VRING_NUM:
                index, size = vhost_user.parse_state(body)
                self._ring(index).size = size
            case Request.SET_VRING_BASE:
                index, base = vhost_user.parse_state(body)
                self._ring(index).base = base
            case Request.SET_VRING_ADDR:
                addresses = vhost_user.parse_addresses(body)
                self._ring(addresses.index).addresses = addresses
            case Request.SET_VRING_ENABLE:
                index, on = vhost_user.parse_state(body)
                self._ring(index).enabled = bool(on)
                self._start(index)
            case Request.SET_VRING_KICK:
                index, given = vhost_user.parse_descriptor(body)
                if not given:
                    raise VhostUserError("a queue without a notification is not served")
                self._stop(index)
                self._ring(index).kick = self._descriptor()
                self._start(index)
            case Request.SET_VRING_CALL:
                index, given = vhost_user.parse_descriptor(body)
                ring = self._ring(index)
                _close(ring.call)
                ring.call = self._descriptor() if given else -1
                self._notify(ring)  # what it was not told through the one before
            case Request.SET_VRING_ERR:
                pass
            case _:
                raise VhostUserError(f"request {request} is not known here")

    def _ring(self, index: int) -> _Ring:
        if index >= len(self._rings):
            raise VhostUserError(f"there is no queue {index}")
        return self._rings[index]

    def _descriptor(self) -> int:
        if not self._descriptors:
            raise VhostUserError("a descriptor is missing")
        return self._descriptors.pop(0)

    def _drop_descriptors(self) -> None:
        for descriptor in self._descriptors:
            _close(descriptor)
        self._descriptors.clear()

    def _map(self, region: Region) -> None:
        descriptor = self._descriptor()
        try:
            end = region.offset + region.size
            if not 0 < end <= os.fstat(descriptor).st_size:
                raise VhostUserError("a region of memory is larger than its file")
            if len(self._pieces) >= _MEMORY_SLOTS:
                raise VhostUserError("there are too many regions of memory")
            mapped = mmap.mmap(descriptor, end)
        finally:
            _close(descriptor)
        data = memoryview(mapped)[region.offset : end]
        self._pieces[region.guest, region.size] = Piece(region.guest, region.user, data)

    def _remember_memory(self) -> None:
        """Queues that run are found anew: what they are in may be gone."""
        self._memory = Memory(self._pieces.values())
        for index, ring in enumerate(self._rings):
            if ring.queue is not None:
                ring.base = ring.queue.base
                ring.queue = None
                self._start(index)

    # the queues

    def _start(self, index: int) -> None:
        ring = self._ring(index)
        if ring.queue is not None or ring.kick < 0 or not ring.enabled or ring.addresses is None:
            return
        ring.queue = Queue(
            self._memory,
            size=ring.size,
            descriptors=ring.addresses.descriptors,
            available=ring.addresses.available,
            used=ring.addresses.used,
            base=ring.base,
        )
        self._loop.add_reader(ring.kick, self._kicked, index)
        self._go_on(index)  # buffers may be there already

    def _stop(self, index: int) -> None:
        ring = self._ring(index)
        if ring.kick >= 0:
            self._loop.remove_reader(ring.kick)
            _close(ring.kick)
            ring.kick = -1
        if ring.queue is not None:
            ring.base = ring.queue.base
            ring.queue = None

    def _kicked(self, index: int) -> None:
        try:
            os.read(self._rings[index].kick, 8)
        except (BlockingIOError, InterruptedError):
            return
        self._go_on(index)

    def _go_on(self, index: int) -> None:
        if index == _RX:
            self.send_soon()
        elif not self._receiving:
            self._receiving = True
            self._loop.call_soon(self._receive)

    def send_soon(self) -> None:
        """There may be something to send, or room for it."""
        if not self._sending:
            self._sending = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        """Packets to the guest, as far as it has put buffers there."""
        self._sending = False
        ring = self._rings[_RX]
        try:
            done = 0
            while ring.queue is not None and self._switch.has_packets and done < _TURN:
                chain = ring.queue.take()
                if chain is None:
                    break
                ring.queue.give(chain.head, self._fill(chain))
                done += 1
        except BadRing as error:
            self._break(ring, error)
            return
        if done:
            self._notify(ring)
        if done == _TURN:
            self.send_soon()
        if self._held and not self._switch.is_behind:
            self._go_on(_TX)

    def _fill(self, chain: Chain) -> int:
        room = chain.room - vsock.HEADER_SIZE
        if room <= 0:
            raise BadRing("a buffer for a packet has no room for any")
        packet = self._switch.take(min(room, vsock.MAX_PAYLOAD))
        return chain.write(packet) if packet is not None else 0

    def _receive(self) -> None:
        """Packets from the guest, unless it does not take ours."""
        self._receiving = False
        ring = self._rings[_TX]
        try:
            done = 0
            while ring.queue is not None and not self._switch.is_behind and done < _TURN:
                chain = ring.queue.take()
                if chain is None:
                    break
                self._unpack(chain)
                ring.queue.give(chain.head, 0)
                done += 1
        except BadRing as error:
            self._break(ring, error)
            return
        if done:
            self._notify(ring)
        self._held = self._switch.is_behind
        if done == _TURN:
            self._go_on(_TX)

    def _unpack(self, chain: Chain) -> None:
        try:
            header = vsock.decode(chain.read(0, vsock.HEADER_SIZE))
            if header.length > vsock.MAX_PAYLOAD:
                raise vsock.VsockError(f"a packet has {header.length} bytes")
            payload = chain.read(vsock.HEADER_SIZE, header.length) if header.length else b""
            if len(payload) != header.length:
                raise vsock.VsockError("a packet is shorter than it says")
        except vsock.VsockError as error:
            raise BadRing(str(error)) from None
        if header.src_cid == GUEST_CID and header.dst_cid == vsock.HOST:
            self._switch.receive(header, payload)

    def _notify(self, ring: _Ring) -> None:
        """Always: whether the guest wants to know could only be asked behind a memory barrier."""
        if ring.queue is not None and ring.call >= 0:
            os.eventfd_write(ring.call, 1)

    def _break(self, ring: _Ring, error: BadRing) -> None:
        """The guest's driver is broken, or malicious: nothing is done until it starts anew."""
        self._warn(f"the guest broke its vsock device: {error}")
        ring.queue = None
        ring.addresses = None
        self._switch.reset()


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
