"""yamux (kata-agent gRPC sheet, §8.4): frames, windows, ends, and whatever a peer may send."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vctui.wire import yamux
from vctui.wire.yamux import (
    Data,
    Ended,
    GoneAway,
    Opened,
    Pong,
    Reset,
    Session,
    Writable,
    YamuxError,
)

WINDOW = yamux.INITIAL_WINDOW


def frame(kind: int, flags: int = 0, stream: int = 0, length: int = 0, body: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, length or len(body)) + body


def pair() -> tuple[Session, Session]:
    return Session(client=True), Session(client=False)


def pump(source: Session, target: Session) -> list[yamux.Event]:
    return list(target.receive(source.take()))


def opened() -> tuple[Session, Session, int]:
    client, server = pair()
    stream = client.open()
    assert pump(client, server) == [Opened(stream)]
    assert pump(server, client) == []
    return client, server, stream


def test_a_client_opens_with_a_window_update_and_may_send_at_once():
    client = Session(client=True)
    stream = client.open()
    client.send(stream, b"hi")
    assert client.take() == frame(yamux.WINDOW, yamux.SYN, 1) + frame(yamux.DATA, 0, 1, body=b"hi")
    assert client.open() == 3


def test_a_server_accepts_with_an_acknowledgement():
    server = Session(client=False)
    assert list(server.receive(frame(yamux.WINDOW, yamux.SYN, 1))) == [Opened(1)]
    assert server.take() == frame(yamux.WINDOW, yamux.ACK, 1)
    assert list(server.receive(frame(yamux.DATA, yamux.SYN, 3, body=b"x"))) == [
        Opened(3),
        Data(3, b"x"),
    ]


def test_data_arrives_in_both_directions_and_ends_when_both_have_said_so():
    client, server, stream = opened()
    client.send(stream, b"question")
    client.end(stream)
    assert pump(client, server) == [Data(stream, b"question"), Ended(stream)]
    server.send(stream, b"answer")
    server.end(stream)
    assert pump(server, client) == [Data(stream, b"answer"), Ended(stream)]
    assert (client.streams, server.streams) == (0, 0)


def test_no_more_is_sent_than_the_window_allows_until_the_peer_has_read():
    client, server, stream = opened()
    assert client.send(stream, bytes(WINDOW + 10)) == WINDOW
    assert client.send(stream, b"more") == 0
    (arrived,) = pump(client, server)
    assert len(arrived.data) == WINDOW
    server.consumed(stream, WINDOW // 2 - 1)
    assert server.take() == b""
    server.consumed(stream, 1)
    assert pump(server, client) == [Writable(stream)]
    assert client.send(stream, bytes(WINDOW)) == WINDOW // 2


def test_a_peer_that_sends_more_than_its_window_ends_the_session():
    _, server, stream = opened()
    with pytest.raises(YamuxError, match="window"):
        list(server.receive(frame(yamux.DATA, 0, stream, WINDOW + 1)))
    assert server.take() == frame(yamux.GO_AWAY, length=yamux.PROTOCOL_ERROR)
    with pytest.raises(YamuxError, match="window"):
        list(server.receive(b""))


def test_pings_are_answered_and_answers_are_told():
    client, server = pair()
    client.ping(7)
    assert pump(client, server) == []
    assert pump(server, client) == [Pong(7)]


def test_after_a_normal_go_away_open_streams_go_on_and_no_new_one_opens():
    client, server, stream = opened()
    server.go_away()
    assert pump(server, client) == [GoneAway(0)]
    client.send(stream, b"on")
    assert pump(client, server) == [Data(stream, b"on")]
    with pytest.raises(YamuxError):
        client.open()


@pytest.mark.parametrize("code", [1, 2, 77])
def test_any_other_go_away_ends_the_session(code: int):
    client = Session(client=True)
    with pytest.raises(YamuxError, match=str(code)):
        list(client.receive(frame(yamux.GO_AWAY, length=code)))


def test_a_reset_stream_is_gone_and_what_still_comes_for_it_is_dropped():
    client, server, stream = opened()
    client.reset(stream)
    assert pump(client, server) == [Reset(stream)]
    late = frame(yamux.DATA, 0, stream, body=b"late") + frame(yamux.WINDOW, yamux.FIN, stream)
    assert list(client.receive(late)) == []
    with pytest.raises(YamuxError):
        client.send(stream, b"x")


def test_a_client_refuses_streams_that_the_guest_opens():
    client = Session(client=True)
    assert list(client.receive(frame(yamux.DATA, yamux.SYN, 2, body=b"boo"))) == []
    assert client.take() == frame(yamux.WINDOW, yamux.RST, 2)


def test_a_server_refuses_streams_over_its_limit():
    server = Session(client=False)
    for index in range(yamux.MAX_STREAMS):
        list(server.receive(frame(yamux.WINDOW, yamux.SYN, 2 * index + 1)))
    server.take()
    assert list(server.receive(frame(yamux.WINDOW, yamux.SYN, 9999))) == []
    assert server.take() == frame(yamux.WINDOW, yamux.RST, 9999)
    assert server.streams == yamux.MAX_STREAMS


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"\1" + bytes(11), "version"),
        (frame(9), "type"),
        (frame(yamux.WINDOW, yamux.SYN, 1), "opened twice"),
        (frame(yamux.WINDOW, yamux.SYN, 4), "not theirs"),
        (frame(yamux.WINDOW, yamux.FIN, 1) * 2, "ended twice"),
        (frame(yamux.WINDOW, yamux.FIN, 1) + frame(yamux.DATA, 0, 1, body=b"x"), "after its end"),
    ],
)
def test_what_breaks_the_protocol_ends_the_session_with_a_reason(bad: bytes, why: str):
    _, server, _ = opened()
    with pytest.raises(YamuxError, match=why):
        list(server.receive(bad))
    assert server.take() == frame(yamux.GO_AWAY, length=yamux.PROTOCOL_ERROR)


def test_a_session_without_room_opens_no_stream_and_says_so():
    client = Session(client=True)
    for _ in range(yamux.MAX_STREAMS):
        client.open()
    before = client.take()
    with pytest.raises(YamuxError):
        client.open()
    assert before
    assert client.take() == b""


@given(st.lists(st.binary(max_size=200)), st.lists(st.integers(1, 40), min_size=1))
def test_how_the_bytes_are_cut_changes_nothing(parts: list[bytes], cuts: list[int]):
    client, server, stream = opened()
    for part in parts:
        client.send(stream, part)
    client.end(stream)
    wire = client.take()
    events: list[yamux.Event] = []
    at = 0
    while at < len(wire):
        step = cuts[at % len(cuts)]
        events += server.receive(wire[at : at + step])
        at += step
    assert b"".join(one.data for one in events if isinstance(one, Data)) == b"".join(parts)
    assert events[-1] == Ended(stream)


_KINDS = st.builds(
    frame,
    st.integers(0, 4),
    st.integers(0, 15),
    st.integers(0, 6),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
)


@given(st.booleans(), st.lists(st.one_of(_KINDS, st.binary(max_size=40)), max_size=30))
def test_whatever_comes_is_an_event_or_one_error_and_little_is_kept(
    client: bool, chunks: list[bytes]
):
    session = Session(client=client)
    if client:
        session.open()
    received = 0
    try:
        for chunk in chunks:
            received += len(chunk)
            events = list(session.receive(chunk))
            assert sum(len(one.data) for one in events if isinstance(one, Data)) <= received
            assert len(session._buffer) < yamux.HEADER_SIZE
            assert session.streams <= yamux.MAX_STREAMS
    except YamuxError:
        with pytest.raises(YamuxError):
            session.open()
    assert len(session.take()) <= received + 2 * yamux.HEADER_SIZE


class Conversation(RuleBasedStateMachine):
    """Two peers that keep the protocol never break it, and lose nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = pair()
        self.sent: dict[tuple[int, int], bytearray] = {}
        self.got: dict[tuple[int, int], bytearray] = {}
        self.ended: set[tuple[int, int]] = set()
        self.known: set[int] = set()

    @precondition(lambda self: self.sides[0].streams < 20)
    @rule()
    def open(self) -> None:
        stream = self.sides[0].open()
        self.known.add(stream)
        for side in (0, 1):
            self.sent[side, stream] = bytearray()
            self.got[side, stream] = bytearray()
        self.carry(0)

    @precondition(lambda self: self.known)
    @rule(side=st.integers(0, 1), data=st.data(), size=st.integers(1, WINDOW))
    def send(self, side: int, data: st.DataObject, size: int) -> None:
        stream = data.draw(st.sampled_from(sorted(self.known)))
        if (side, stream) in self.ended:
            return
        payload = bytes([size % 256]) * size
        taken = self.sides[side].send(stream, payload)
        self.sent[side, stream] += payload[:taken]

    @precondition(lambda self: self.known)
    @rule(side=st.integers(0, 1), data=st.data())
    def end(self, side: int, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(self.known)))
        if (side, stream) not in self.ended:
            self.sides[side].end(stream)
            self.ended.add((side, stream))

    @rule(side=st.integers(0, 1))
    def carry(self, side: int) -> None:
        target = self.sides[1 - side]
        for event in target.receive(self.sides[side].take()):
            if isinstance(event, Data):
                self.got[side, event.stream] += event.data
                target.consumed(event.stream, len(event.data))

    @invariant()
    def nothing_is_made_up(self) -> None:
        for key, data in self.got.items():
            assert self.sent[key].startswith(data)

    def teardown(self) -> None:
        for _ in range(3):
            self.carry(0)
            self.carry(1)
        assert self.got == self.sent


TestConversation = Conversation.TestCase
