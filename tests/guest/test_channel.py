from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vctui.guest import channel
from vctui.guest.channel import Channel, Port, find_port, is_first_frame
from vctui.guest.loop import Future, Loop
from vctui.wire import ttrpc
from vctui.wire.pb import ttrpc_pb2
from vctui.wire.ttrpc import Frame

CHECK = ttrpc_pb2.Request(service="grpc.Health", method="Check").SerializeToString()
CHECK_FRAME = ttrpc.encode(1, ttrpc.REQUEST, CHECK)


class Side:
    """A channel with what it was told."""

    def __init__(self) -> None:
        self.raised: list[BaseException] = []
        self.loop = Loop(self.raised.append)
        self.host, guest = socket.socketpair()
        guest.setblocking(False)
        self.guest = guest
        self.frames: list[Frame] = []
        self.lost = 0
        self.channel = Channel(
            self.loop, guest.fileno(), receive=self.frames.append, lost=self._lose
        )

    def _lose(self) -> None:
        self.lost += 1

    def wake(self) -> None:
        """Have it read."""
        self.host.send(b"x")
        self.turn()

    def turn(self) -> None:
        """Let the channel do what there is to do."""
        done = Future()
        self.loop.later(0.002, done.succeed)
        self.loop.run_until(done)


@pytest.fixture
def side() -> Iterator[Side]:
    side = Side()
    yield side
    side.loop.close()
    side.host.close()
    side.guest.close()
    assert not side.raised


def test_frames_come_whole(side: Side) -> None:
    data = ttrpc.encode(1, ttrpc.REQUEST, b"abc") + ttrpc.encode(3, ttrpc.REQUEST, b"")
    for byte in data:
        side.host.send(bytes((byte,)))
        side.turn()
    assert side.frames == [Frame(1, ttrpc.REQUEST, b"abc"), Frame(3, ttrpc.REQUEST)]


def test_the_host_that_leaves_is_noticed_once(side: Side) -> None:
    side.host.send(ttrpc.encode(1, ttrpc.REQUEST, b"abc")[:-1])
    side.turn()
    side.host.close()
    side.turn()
    side.turn()
    assert (side.frames, side.lost) == ([], 1)


def test_a_request_is_kept_that_comes_before_the_kernel_tells_of_its_client(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_ANNOUNCEMENT", 3600.0)
    script = _read_by_script(side, monkeypatch)
    script += [b""]
    side.wake()
    script += [CHECK_FRAME, b""]
    side.wake()
    assert (len(side.frames), side.lost) == (1, 0)
    script += [b"", BlockingIOError()]  # a wake-up for another reason, then the news
    side.wake()
    side.wake()
    script += [b""]
    assert side.lost == 0
    side.wake()
    assert (len(side.frames), side.lost) == (1, 1)


def test_a_client_that_the_kernel_never_tells_of_has_left(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_ANNOUNCEMENT", 0.0)
    script = _read_by_script(side, monkeypatch)
    script += [CHECK_FRAME, b"", b""]
    side.wake()
    side.turn()
    assert (len(side.frames), side.lost) == (1, 1)


def _read_by_script(side: Side, monkeypatch: pytest.MonkeyPatch) -> list[bytes | OSError]:
    """What the port delivers, read after read; wake-ups find nothing where it is empty."""
    script: list[bytes | OSError] = []
    read = os.read
    side.turn()  # what the descriptor has to say at first

    def scripted(fd: int, size: int) -> bytes:
        if fd != side.guest.fileno():
            return read(fd, size)
        answer = script.pop(0) if script else b""
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "read", scripted)
    side.channel._connected = False
    return script


def test_a_new_clients_first_frame_ends_half_a_frame_of_the_old_one(side: Side) -> None:
    side.host.send(ttrpc.encode(7, ttrpc.REQUEST, b"x" * 1000)[:500])
    side.turn()
    side.host.send(ttrpc.encode(1, ttrpc.REQUEST, CHECK))
    side.turn()
    assert side.frames == [Frame(1, ttrpc.REQUEST, CHECK)]


def test_what_looks_like_a_first_frame() -> None:
    assert is_first_frame(ttrpc.encode(1, ttrpc.REQUEST, CHECK))
    assert not is_first_frame(ttrpc.encode(3, ttrpc.REQUEST, CHECK))
    assert not is_first_frame(ttrpc.encode(1, ttrpc.REQUEST, b"other bytes"))
    assert not is_first_frame(b"")


def test_no_more_is_read_while_answers_wait_for_the_host(side: Side) -> None:
    side.turn()
    side.channel.send(bytes(6 * 1024 * 1024))
    side.host.send(ttrpc.encode(1, ttrpc.REQUEST, CHECK))
    side.turn()
    assert side.frames == []
    taken = 0
    while taken < 6 * 1024 * 1024:
        taken += len(side.host.recv(1024 * 1024))
        side.turn()
    assert len(side.frames) == 1


def test_ports_are_found_by_their_name(tmp_path: Path) -> None:
    sys, dev = tmp_path / "sys", tmp_path / "dev"
    assert find_port("agent.channel.0", str(sys), str(dev)) is None
    ports = sys / "class" / "virtio-ports"
    for port, name in (("vport1p1", "agent.log.0\n"), ("vport1p2", "agent.channel.0\n")):
        (ports / port).mkdir(parents=True)
        (ports / port / "name").write_text(name)
    (ports / "vport1p3").mkdir()  # has no name yet
    assert find_port("agent.channel.0", str(sys), str(dev)) is None  # has no device yet
    dev.mkdir()
    (dev / "vport1p2").touch()
    assert find_port("agent.channel.0", str(sys), str(dev)) == os.fspath(dev / "vport1p2")


def test_a_connection_is_closed_when_its_client_leaves() -> None:
    raised: list[BaseException] = []
    said: list[bytes] = []
    lost: list[int] = []
    loop = Loop(raised.append)
    host, guest = socket.socketpair()
    guest.setblocking(False)
    descriptor = guest.detach()
    port = Port(loop, descriptor, receive=said.append, lost=lambda: lost.append(1), stays=False)
    for last in (False, True):
        if last:
            host.close()
        else:
            host.send(b"abc")
        done = Future()
        loop.later(0.002, done.succeed)
        loop.run_until(done)
    port.send(b"too late")  # goes nowhere, least of all to who has the number now
    assert (said, lost, raised) == ([b"abc"], [1], [])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    loop.close()


@pytest.mark.parametrize("leaves", [False, True])
def test_who_sends_much_waits_until_it_is_taken_or_the_host_has_left(
    side: Side, leaves: bool
) -> None:
    side.loop.run_until(side.loop.start(side.channel.room()))
    for _ in range(64):
        side.channel.send(bytes(65536))
    waiting = side.loop.start(side.channel.room())
    side.turn()
    assert not waiting.done
    if leaves:
        side.host.close()
    while not waiting.done:
        if not leaves:
            side.host.recv(1 << 20)
        side.turn()
    waiting.result()
