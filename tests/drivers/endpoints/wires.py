"""What tests of the wiring share: endpoints of a namespace, and the machine's end of a tap."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import lan as lans
from vctui.drivers.endpoints import scan
from vctui.drivers.endpoints.base import Wiring
from vctui.drivers.endpoints.bridged import Bridged
from vctui.drivers.endpoints.macvtap import Macvtap
from vctui.drivers.endpoints.tc_filter import TcFilter
from vctui.linux import netns
from vctui.model.kinds import NetInterworkingModel
from vctui.model.network import Endpoint, NetworkConfig

PATIENCE = 10.0
VNET_HEADER = bytes(10)

MODELS: dict[NetInterworkingModel, Wiring] = {
    NetInterworkingModel.TC_FILTER: TcFilter(),
    NetInterworkingModel.BRIDGED: Bridged(),
    NetInterworkingModel.MACVTAP: Macvtap(),
}


def need_kind(namespace: Path, kind: str, on: str = "eth0") -> None:
    """Skip the test on a kernel that makes no such links on top of the namespace's `on`;
    test_on_a_guest runs it on one that does."""

    if not lans.has_kind(namespace, kind, on):
        pytest.skip(f"needs a kernel with {kind}")


def endpoint(namespace: Path, model: NetInterworkingModel, queues: int = 1) -> Endpoint:
    view = netns.inside(namespace, scan.look)
    config = NetworkConfig(interworking_model=model)
    (found,) = scan.endpoints(view, config, processors=queues, wire=MODELS[model].plan)
    return found


def arp_request(mac: str, own: str, wanted: str) -> bytes:
    sender = bytes.fromhex(mac.replace(":", ""))
    ethernet = b"\xff" * 6 + sender + struct.pack("!H", 0x0806)
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    addresses = sender + socket.inet_aton(own) + bytes(6) + socket.inet_aton(wanted)
    return VNET_HEADER + ethernet + arp + addresses


def echo_request(mac: str, own: str, wanted: str) -> bytes:
    """As a guest sends it that asks no neighbours: to the hardware address of its own."""
    station = bytes.fromhex(mac.replace(":", ""))
    icmp = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    addresses = socket.inet_aton(own) + socket.inet_aton(wanted)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + addresses
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return VNET_HEADER + station * 2 + struct.pack("!H", 0x0800) + ip + icmp


def checksum(data: bytes) -> int:
    """Of the Internet's protocols."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def answer(queues: tuple[int, ...], mac: str, wanted: str) -> bytes:
    """The ARP reply that comes to the machine's end of the tap; b"" for none."""

    def is_reply(frame: bytes) -> bool:
        return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x02"

    return _answer(queues, mac, arp_request(mac, "10.77.0.2", wanted), is_reply)


def echo(queues: tuple[int, ...], mac: str, own: str, wanted: str) -> bytes:
    """The ICMP echo reply that comes to the machine's end of the tap; b"" for none."""

    def is_reply(frame: bytes) -> bool:
        return frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x01" and frame[34:35] == b"\0"

    return _answer(queues, mac, echo_request(mac, own, wanted), is_reply)


def _answer(
    queues: tuple[int, ...], mac: str, request: bytes, is_it: Callable[[bytes], bool]
) -> bytes:
    """In any queue. Asks again, as every guest does: a tap takes a moment to carry packets."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        os.write(queues[0], request)
        while ready := select.select(queues, [], [], 0.1)[0]:
            frame = os.read(ready[0], 65536)[len(VNET_HEADER) :]
            if is_it(frame):
                assert frame[:6].hex(":") == mac
                return frame
    return b""
