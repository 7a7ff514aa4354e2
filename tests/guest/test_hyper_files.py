"""Our guest as hyperstart gives and takes files: WRITEFILE and READFILE (hyperstart sheet §4.5)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vctui.errors import AgentError
from vctui.guest.hyper import Hyper
from vctui.guest.log import Log
from vctui.guest.loop import Future, Loop
from vctui.wire import hyperstart
from vctui.wire.hyperstart import ACK, ERROR, READ_FILE, WRITE_FILE, Control


class Face:
    """It, on a container whose root is a folder here."""

    def __init__(self, loop: Loop, root: Path) -> None:
        self._loop = loop
        self._said = hyperstart.ControlDecoder()
        self._answer = Future()
        sandbox: Any = SimpleNamespace(container=self._container)
        unused: Any = None
        self._root = root
        self._hyper = Hyper(
            loop,
            Log(10),
            sandbox,
            unused,
            unused,
            control=self._take,
            streams=unused,
            room=unused,
            power_off=unused,
        )

    def _container(self, name: str) -> Any:
        if name != "c1":
            raise AgentError(f"there is no container {name}")
        return SimpleNamespace(root=lambda: str(self._root))

    def _take(self, data: bytes) -> None:
        for one in self._said.feed(data):
            if one.command != hyperstart.NEXT:
                self._answer.succeed(one)

    def ask(self, command: int, payload: bytes) -> Control:
        self._answer = Future()
        self._hyper.receive_control(hyperstart.encode_control(command, payload))
        answer = self._loop.run_until(self._answer)
        assert isinstance(answer, Control)
        return answer

    def place(self, path: object, container: str = "c1") -> bytes:
        return json.dumps({"container": container, "file": path}).encode()


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    raised: list[BaseException] = []
    loop = Loop(raised.append)
    (tmp_path / "root").mkdir()
    yield Face(loop, tmp_path / "root")
    loop.close()
    assert not raised


@pytest.mark.parametrize("data", [b"", b"}{\0\xff", b"x" * 9000])
def test_what_is_written_is_read(face: Face, tmp_path: Path, data: bytes):
    assert face.ask(WRITE_FILE, face.place("/x") + b"longer than the next }") == Control(ACK)
    assert face.ask(WRITE_FILE, face.place("/x") + data) == Control(ACK)
    assert (tmp_path / "root/x").read_bytes() == data
    assert face.ask(READ_FILE, face.place("/x")) == Control(ACK, data)


def test_the_longest_file_fits_an_answer_and_one_more_byte_is_refused(face: Face, tmp_path: Path):
    file = tmp_path / "root/x"
    file.write_bytes(bytes(hyperstart.MAX_FILE))
    assert face.ask(READ_FILE, face.place("/x")) == Control(ACK, bytes(hyperstart.MAX_FILE))
    os.truncate(file, hyperstart.MAX_FILE + 1)
    answer = face.ask(READ_FILE, face.place("/x"))
    assert answer == Control(ERROR, b"the file has more than 4190200 bytes\0")


@pytest.mark.parametrize("command", [READ_FILE, WRITE_FILE])
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none/x", "No such file"),
        ("/", "Is a directory"),
        ("/pipe", "not a file"),
        ("/a\0b", "null"),
        (5, "a text"),
        (None, "a text"),
    ],
)
def test_what_cannot_be_is_refused(
    face: Face, tmp_path: Path, command: int, path: object, why: str
):
    os.mkfifo(tmp_path / "root/pipe")
    answer = face.ask(command, face.place(path))
    assert answer.command == ERROR
    assert why in answer.payload.decode()


@pytest.mark.parametrize("payload", [b"", b"data", b'{"container":"c1"}', b'{"file":"/x"', b"[]"])
@pytest.mark.parametrize("command", [READ_FILE, WRITE_FILE])
def test_nonsense_is_refused(face: Face, command: int, payload: bytes):
    assert face.ask(command, payload).command == ERROR


def test_a_file_has_the_length_that_it_says(face: Face):
    """As in hyperstart: those of /proc say none."""
    assert Path("/proc/version").read_text()
    other = Face(face._loop, Path("/proc"))
    assert other.ask(READ_FILE, other.place("/version")) == Control(ACK)


def test_another_container_is_not_found(face: Face):
    answer = face.ask(WRITE_FILE, face.place("/x", "c2"))
    assert answer == Control(ERROR, b"there is no container c2\0")
