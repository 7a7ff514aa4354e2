"""What a peer may send, codec by codec: bytes in, nothing out but events or the codec's own error.

Each target is deterministic and keeps its own promises: whatever comes, memory stays bounded and
no other exception leaves the codec. The suite runs them over a few seeds (test_targets.py),
`make fuzz` for as long as one likes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from vctui.companions.monitor import agent_log
from vctui.companions.monitor.resync import Resync
from vctui.drivers.agents import words
from vctui.drivers.ttrpc_client import CallFailed, result
from vctui.engine import lastwords
from vctui.present import processes
from vctui.wire import ccproxy, hyperstart, proto, ttrpc, vhost_user, virtqueue, vsock, yamux
from vctui.wire.pb import tables

_PIECES: Final = 7
"""Into how many a target cuts its bytes: where they are cut must not matter to anybody."""


def cut(data: bytes) -> list[bytes]:
    """The bytes in pieces, whose sizes the first byte decides."""
    size = 1 + (data[0] if data else 0) % 61
    head = [data[at : at + size] for at in range(0, _PIECES * size, size)]
    return [*head, data[_PIECES * size :]]


def yamux_frames(data: bytes) -> None:
    for client in (True, False):
        session = yamux.Session(client=client)
        if client:
            session.open()
        session.take()
        events: list[yamux.Event] = []
        try:
            for piece in cut(data):
                events += session.receive(piece)
        except yamux.YamuxError:
            pass
        brought = sum(len(one.data) for one in events if isinstance(one, yamux.Data))
        assert brought <= len(data)
        assert session.streams <= yamux.MAX_STREAMS
        assert len(session.take()) <= len(data) + yamux.HEADER_SIZE


def ttrpc_frames(data: bytes) -> None:
    decoder, found = ttrpc.Decoder(), []
    for piece in cut(data):
        found += decoder.feed(piece)
    whole = list(ttrpc.Decoder().feed(data))
    assert found == whole
    for frame in whole:
        assert len(frame.data) <= min(ttrpc.MAX_DATA, len(data))
        with contextlib.suppress(CallFailed):
            assert len(result(frame)) <= len(data)


def resynchronised_frames(data: bytes) -> None:
    framer = Resync()
    framer.expect(3)
    for piece in cut(data):
        list(framer.feed(piece))
    assert framer.skipped <= len(data)


def hyperstart_control(data: bytes) -> None:
    decoder, held = hyperstart.ControlDecoder(), 0
    try:
        for piece in cut(data):
            held += sum(len(one.payload) for one in decoder.feed(piece))
    except hyperstart.HyperstartError:
        pass
    assert held <= len(data)


def hyperstart_streams(data: bytes) -> None:
    decoder, held = hyperstart.StreamDecoder(), 0
    try:
        for piece in cut(data):
            held += sum(len(one.data) for one in decoder.feed(piece))
    except hyperstart.HyperstartError:
        pass
    assert held <= len(data)


def ccproxy_frames(data: bytes) -> None:
    decoder = ccproxy.Decoder()
    try:
        for piece in cut(data):
            for frame in decoder.feed(piece):
                assert list(ccproxy.Decoder().feed(ccproxy.encode(frame))) == [frame]
    except ccproxy.CcProxyError:
        pass


def vhost_user_messages(data: bytes) -> None:
    reader, at = vhost_user.Reader(), 0
    try:
        while at < len(data):
            size = min(reader.wanted, len(data) - at)
            message = reader.feed(data[at : at + size])
            at += size
            if message is not None:
                assert len(message.body) <= vhost_user.MAX_BODY
                for parse in (vhost_user.parse_table, vhost_user.parse_region):
                    with contextlib.suppress(vhost_user.VhostUserError):
                        parse(message.body)
    except vhost_user.VhostUserError:
        pass


_QUEUE: Final = 8


def guest_memory(data: bytes) -> None:
    """A queue in a memory that the guest has filled as it likes."""
    memory = bytearray(data[:4096].ljust(4096, b"\0"))
    pieces = [virtqueue.Piece(0, 0, memoryview(memory))]
    queue = virtqueue.Queue(
        virtqueue.Memory(pieces), size=_QUEUE, descriptors=0, available=128, used=256
    )
    taken = 0
    try:
        while (chain := queue.take()) is not None:
            taken += 1
            assert len(chain.readable) + len(chain.writable) <= _QUEUE
            assert len(chain.read(0, 1 << 20)) <= len(memory) * _QUEUE
            with contextlib.suppress(vsock.VsockError):
                vsock.decode(chain.read(0, vsock.HEADER_SIZE))
            if taken == 4 * _QUEUE:  # what is written to may make more available, for ever
                break
            queue.give(chain.head, chain.write(b"x" * 100))
    except virtqueue.BadRing:
        pass
    assert len(memory) == 4096


_MESSAGES: Final = sorted(tables.TABLES)


def agent_answers(data: bytes) -> None:
    """The first byte chooses which message the rest is taken for."""
    if not data:
        return
    name = _MESSAGES[data[0] % len(_MESSAGES)]
    try:
        message = proto.message(name).decode(data[1:])
    except ValueError:
        return
    again = proto.message(name).decode(message.encode())
    assert again == message


def agent_words(data: bytes) -> None:
    said = words.sentence(data.decode(errors="replace"))
    assert len(said) <= 300
    assert not any(ord(letter) < 32 for letter in said)
    assert len(processes.parse(data)) <= processes.MAX_PROCESSES


def console_words(data: bytes) -> None:
    """What a guest writes to its console is taken apart for an operator."""
    lines = data.splitlines()
    for line in lines:
        agent_log.is_entry(line)
    told = lastwords.told(lines[-lastwords.LINES :], memory=256)
    assert sum(len(one) for one in told) < 2000
    assert not any(ord(letter) < 32 and letter != "\t" for one in told for letter in one)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        yamux_frames,
        ttrpc_frames,
        resynchronised_frames,
        hyperstart_control,
        hyperstart_streams,
        ccproxy_frames,
        vhost_user_messages,
        guest_memory,
        agent_answers,
        agent_words,
        console_words,
    )
}
