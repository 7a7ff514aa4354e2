"""Our guest as hyperstart carries the streams of processes, and what it makes of nonsense."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import AgentError
from vctui.guest.cc_agent import CcAgent
from vctui.guest.channel import Port
from vctui.guest.hyper import Hyper
from vctui.guest.log import Log
from vctui.guest.loop import Future, Loop
from vctui.guest.process import Pipes, Process
from vctui.wire import hyperstart
from vctui.wire.hyperstart import ACK, ERROR, Control, Stream, encode_stream

STDIO, STDERR = 4, 5


class Face:
    """It, with a process `c1` of container `c1` whose ends of its pipes are ours."""

    def __init__(self, kind: type[Hyper]) -> None:
        self.raised: list[BaseException] = []
        self.loop = Loop(self.raised.append)
        self.said: list[Control] = []
        self._decoder = hyperstart.ControlDecoder()
        self._streams = hyperstart.StreamDecoder()
        self.host, guest = socket.socketpair()
        guest.setblocking(False)
        self._guest = guest
        sandbox: Any = SimpleNamespace(container=_no_container, containers={}, create=_nothing)
        unused: Any = SimpleNamespace(shared="/shared", kata="/kata")
        self.hyper = kind(
            self.loop,
            Log(10),
            sandbox,
            unused,
            unused,
            control=lambda data: self.said.extend(self._decoder.feed(data)),
            streams=self._send,
            room=lambda: self.port.room(),
            power_off=lambda: None,
        )
        self.port = Port(
            self.loop, guest.fileno(), receive=self.hyper.receive_stream, lost=self.hyper.lost
        )
        self.process = Process(self.loop, "c1", terminal=False)
        self.pipes = Pipes()
        self.process.take_pipes(self.pipes)
        self.process.started(0, Future())
        self.hyper._connect("c1", {"stdio": STDIO, "stderr": STDERR}, self.process)
        self.turn()

    def _send(self, data: bytes) -> None:
        self.port.send(data)

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            done = Future()
            self.loop.later(0.002, done.succeed)
            self.loop.run_until(done)

    def ask(self, command: int, payload: bytes) -> Control:
        before = len(self.said)
        self.hyper.receive_control(hyperstart.encode_control(command, payload))
        while not (new := [one for one in self.said[before:] if one.command != hyperstart.NEXT]):
            self.turn()
        return new[0]

    def typed(self, size: int = 1 << 20) -> bytes:
        """What the process finds to read now."""
        os.set_blocking(self.pipes.theirs[0], False)
        try:
            return os.read(self.pipes.theirs[0], size)
        except BlockingIOError:
            return b""

    def heard(self) -> list[Stream]:
        """What the host has been sent since."""
        self.host.setblocking(False)
        try:
            return list(self._streams.feed(self.host.recv(1 << 20)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        self.process.close()
        self.loop.close()
        for fd in self.pipes.theirs:
            os.close(fd)
        self.host.close()
        self._guest.close()
        assert not self.raised


def _no_container(name: object) -> Any:
    raise AgentError(f"there is no container {name!r}")


async def _nothing(*_: object) -> None:
    pass


@pytest.fixture(params=[Hyper, CcAgent])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    face = Face(request.param)
    yield face
    face.close()


@pytest.fixture
def hyper() -> Iterator[Face]:
    face = Face(Hyper)
    yield face
    face.close()


def test_a_process_that_writes_without_end_is_slowed_down(face: Face):
    """Where the host does not take it; what it takes comes whole."""
    with subprocess.Popen(["/usr/bin/yes"], stdout=face.pipes.theirs[1]) as process:
        try:
            face.turn(200)
            assert face.port._waiting < 512 * 1024
            taken = b""
            while len(taken) < 4 << 20:
                taken += b"".join(one.data for one in face.heard())
                face.turn()
            assert taken == (b"y\n" * len(taken))[: len(taken)]
        finally:
            process.kill()


def test_input_is_kept_as_far_as_there_is_room(hyper: Face):
    """Of two pieces at once the second is lost; with one for nobody between it is not."""
    piece = encode_stream(STDIO, b"x" * 512)
    hyper.host.sendall(piece + piece)
    hyper.turn(3)
    assert hyper.typed() == b"x" * 512
    for _ in range(20):
        hyper.host.sendall(piece + encode_stream(STDERR))
        while not (answer := hyper.heard()):
            hyper.turn()
        assert answer == [Stream(STDERR)]
    assert hyper.typed() == b"x" * 512 * 20


def test_input_that_a_process_does_not_read_does_not_pile_up(hyper: Face):
    for _ in range(1000):
        hyper.host.sendall(encode_stream(STDIO, b"x" * 512))
        hyper.turn()
    assert hyper.hyper._typed == {STDIO: 512}


def test_the_end_of_input_comes_behind_it(face: Face):
    face.host.sendall(encode_stream(STDIO, b"abc") + encode_stream(STDIO))
    face.turn(3)
    assert face.typed() == b"abc"
    assert face.process.stdin is not None
    assert os.read(face.pipes.theirs[0], 1) == b""


WORDS = ("id", "container", "process", "args", "stdio", "signal", "row", "shareDir", "interfaces")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=10,
)
COMMANDS = [
    *(hyperstart.START_POD, hyperstart.EXEC_COMMAND, hyperstart.WINDOW_SIZE),
    *(hyperstart.NEW_CONTAINER, hyperstart.KILL_CONTAINER, hyperstart.SIGNAL_PROCESS),
    *(hyperstart.REMOVE_CONTAINER, hyperstart.PS_CONTAINER, hyperstart.READ_FILE),
]


@pytest.mark.parametrize("kind", [Hyper, CcAgent])
@given(command=st.sampled_from(COMMANDS), told=JSON)
def test_any_json_has_an_answer(kind: type[Hyper], command: int, told: object):
    face = Face(kind)
    try:
        assert face.ask(command, json.dumps(told).encode()).command in {ACK, ERROR}
    finally:
        face.close()


@pytest.mark.parametrize("told", [b"[]", b"5", b'"x"', b"[" * 100000, b"{", b"\xff"])
def test_what_is_no_object_is_refused(face: Face, told: bytes):
    assert face.ask(hyperstart.START_POD, told[:10000]).command == ERROR


def test_hyperstart_misses_the_container_behind_the_process(hyper: Face):
    process = {"args": ["x"], "terminal": False, "stdio": 8, "stderr": 9}
    told = {"process": process, "container": "c1"}
    assert b"named first" in hyper.ask(hyperstart.EXEC_COMMAND, json.dumps(told).encode()).payload
    told = {"container": "c1", "process": process | {"rlimits": []}}
    assert b"rlimits" in hyper.ask(hyperstart.EXEC_COMMAND, json.dumps(told).encode()).payload
