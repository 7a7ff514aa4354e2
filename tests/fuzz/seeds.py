"""Where a fuzzer begins: what well-behaved peers send."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vctui.wire import ccproxy, hyperstart, proto, ttrpc, vhost_user, yamux


def of(target: str) -> list[bytes]:
    """Well-formed inputs of a target, and each of them cut short."""
    whole = [b"", *_SEEDS.get(target, ())]
    return whole + [seed[: len(seed) // 2] for seed in whole if seed]


def _yamux() -> Iterator[bytes]:
    client = yamux.Session(client=True)
    stream = client.open()
    client.send(stream, b"x" * 300)
    client.ping(7)
    client.end(stream)
    client.go_away()
    yield client.take()
    server = yamux.Session(client=False)
    other = yamux.Session(client=True)
    other.open()
    list(server.receive(other.take()))
    server.send(1, b"answer")
    server.end(1)
    yield server.take()


def _ttrpc() -> Iterator[bytes]:
    answer = proto.message("Response")(payload=b"x" * 40)
    yield ttrpc.encode(3, ttrpc.RESPONSE, answer.encode())
    status = proto.message("Status")(code=13, message="no\x1b[2J")
    refusal = proto.message("Response")(status=status)
    yield ttrpc.encode(3, ttrpc.RESPONSE, refusal.encode())
    yield ttrpc.encode(1, ttrpc.DATA, b"abc", ttrpc.REMOTE_OPEN)


def _control() -> Iterator[bytes]:
    yield hyperstart.encode_control(hyperstart.READY)
    yield hyperstart.encode_control(hyperstart.NEXT, b"\0\0\0\10")
    yield hyperstart.encode_control(hyperstart.ACK, b"[1, 2]")


def _streams() -> Iterator[bytes]:
    yield b"".join(hyperstart.encode_stream(3, data) for data in (b"out", b"", b"\7"))


def _ccproxy() -> Iterator[bytes]:
    frame, kind = ccproxy.Frame, ccproxy.Type
    yield ccproxy.encode(frame(kind.COMMAND, ccproxy.Command.CONNECT_SHIM, b'{"token":"t"}'))
    yield ccproxy.encode(frame(kind.RESPONSE, ccproxy.Command.HYPER, b"{}", is_error=True))
    yield ccproxy.encode(frame(kind.STREAM, ccproxy.Stream.STDOUT, b"out"))
    yield ccproxy.encode(frame(kind.NOTIFICATION, 0, b"\0"))


def _vhost_user() -> Iterator[bytes]:
    request = vhost_user.Request
    table = struct.pack("<IIQQQQ", 1, 0, 0, 4096, 1 << 40, 0)
    yield vhost_user.encode(request.GET_FEATURES) + vhost_user.encode(request.SET_MEM_TABLE, table)
    yield vhost_user.encode(request.ADD_MEM_REG, bytes(8) + table[8:], wants_reply=True)


def _memory() -> Iterator[bytes]:
    """Eight descriptors, then the ring of those that are available, at 128."""
    packet = struct.pack("<QIHH", 1024, 44, 1, 1) + struct.pack("<QIHH", 2048, 100, 2, 0)
    yield packet.ljust(128, b"\0") + struct.pack("<HHHH", 0, 2, 0, 1)
    loop = struct.pack("<QIHH", 1024, 4, 1, 0)
    yield loop.ljust(128, b"\0") + struct.pack("<HHH", 0, 1, 0)


def _console() -> Iterator[bytes]:
    yield b"[    2.5] Kernel panic - not syncing: Attempted to kill init!\r\n[    2.5] Reboot\r\n"
    yield b'time="2020-01-01T00:00:00Z" level=info msg=hi name=kata-agent pid=1 source=agent\r\n'
    yield b'{"msg":"hi","name":"kata-agent","source":"agent"}\nInitramfs unpacking failed: no\n'


_SEEDS = {
    "yamux_frames": list(_yamux()),
    "ttrpc_frames": list(_ttrpc()),
    "resynchronised_frames": list(_ttrpc()),
    "hyperstart_control": list(_control()),
    "hyperstart_streams": list(_streams()),
    "ccproxy_frames": list(_ccproxy()),
    "vhost_user_messages": list(_vhost_user()),
    "guest_memory": list(_memory()),
    "agent_answers": [bytes((number,)) + b"\x0a\x03abc\x12\x01x\x18\x05" for number in range(64)],
    "agent_words": [b"\x1b[2Jtext", b'[{"pid": 1, "args": "sh"}, 7, [], null]'],
    "console_words": list(_console()),
}
