"""What tests of the wiring share: endpoints of a namespace, and the machine's end of a tap."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
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
    test_on_another_kernel runs it on one that does."""

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


def answer(queues: tuple[int, ...], mac: str, wanted: str) -> bytes:
    """The ARP reply that comes to the machine's end of the tap, in any queue; b"" for none. Asks
    again, as every guest does: a tap takes a moment to carry packets."""
    request = arp_request(mac, "10.77.0.2", wanted)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        os.write(queues[0], request)
        while ready := select.select(queues, [], [], 0.1)[0]:
            frame = os.read(ready[0], 65536)[len(VNET_HEADER) :]
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x02":
                assert frame[:6].hex(":") == mac
                return frame
    return b""
