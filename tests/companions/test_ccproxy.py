"""Our cc-proxy, between a scripted hyperstart guest and clients that follow the tables (§3)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.companions.conftest import until
from vctui.companions.ccproxy.messages import BadRequest, with_streams
from vctui.companions.ccproxy.server import Server
from vctui.linux import process, sockets
from vctui.wire import ccproxy, hyperstart
from vctui.wire.ccproxy import Command, Frame, Notification, Stream, Type

WAIT = 10.0


async def closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def listening(path: Path) -> socket.socket:
    """A connection to the proxy, as soon as it listens: its file is there a moment before."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                return await sockets.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.01)


class Guest:
    """Both serial ports; acknowledges every command unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.ctl, self.io = folder / "hyper.sock", folder / "tty.sock"
        self.commands: list[tuple[int, Any]] = []
        self.input: list[tuple[int, bytes]] = []
        self.answers: dict[int, tuple[int, bytes]] = {}
        self.is_ready = True
        self._writers: dict[str, asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Guest]:
        servers = [
            await asyncio.start_unix_server(serve, path)
            for serve, path in ((self._serve_ctl, self.ctl), (self._serve_io, self.io))
        ]
        try:
            yield self
        finally:
            self.end()
            await closed(*self._writers.values())
            for server in servers:
                server.close()

    def end(self) -> None:
        for writer in self._writers.values():
            writer.transport.abort()

    def ready(self) -> None:
        self._writers["ctl"].write(hyperstart.encode_control(hyperstart.READY))

    def says(self, sequence: int, data: bytes) -> None:
        self._writers["io"].write(hyperstart.encode_stream(sequence, data))

    def garbage(self) -> None:
        self._writers["io"].write(bytes(8) + b"\xff" * 4)

    async def _serve_ctl(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers["ctl"] = writer
        if self.is_ready:
            self.ready()
        decoder = hyperstart.ControlDecoder()
        while chunk := await reader.read(65536):
            for message in decoder.feed(chunk):
                payload = json.loads(message.payload) if message.payload else None
                self.commands.append((message.command, payload))
                if message.command in self.answers and self.answers[message.command][0] < 0:
                    continue
                answer = self.answers.get(message.command, (hyperstart.ACK, b""))
                writer.write(hyperstart.encode_control(hyperstart.NEXT, bytes(4)))
                writer.write(hyperstart.encode_control(*answer))

    async def _serve_io(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers["io"] = writer
        decoder = hyperstart.StreamDecoder()
        while chunk := await reader.read(65536):
            self.input += [(one.sequence, one.data) for one in decoder.feed(chunk)]


class Peer:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._decoder = ccproxy.Decoder()
        self._frames: list[Frame] = []

    def send(self, type_: Type, opcode: int, payload: bytes | dict[str, Any] = b"") -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.writer.write(ccproxy.encode(Frame(type_, opcode, data)))

    async def frame(self) -> Frame | None:
        """None when the proxy has hung up."""
        async with asyncio.timeout(WAIT):
            while not self._frames:
                chunk = await self._reader.read(65536)
                if not chunk:
                    return None
                self._frames += self._decoder.feed(chunk)
        return self._frames.pop(0)

    async def ask(self, command: Command, **payload: Any) -> Frame:
        self.send(Type.COMMAND, command, payload)
        answer = await self.frame()
        assert answer is not None
        assert (answer.type, answer.opcode) == (Type.RESPONSE, command)
        return answer

    async def io(self, command: Command, **payload: Any) -> Any:
        answer = await self.ask(command, **payload)
        assert not answer.is_error, answer.payload
        return json.loads(answer.payload)["io"]

    async def refused(self, command: Command, **payload: Any) -> str:
        answer = await self.ask(command, **payload)
        assert answer.is_error
        said: str = json.loads(answer.payload)["msg"]
        return said

    async def hyper(self, name: str, tokens: list[str] | None = None, **data: Any) -> Frame:
        return await self.ask(Command.HYPER, hyperName=name, tokens=tokens, data=data)


class Side:
    def __init__(self, guest: Guest, path: Path) -> None:
        self.guest = guest
        self.path = path
        self.peers: list[Peer] = []

    async def peer(self) -> Peer:
        sock = await sockets.connect(self.path)
        self.peers.append(Peer(*await asyncio.open_unix_connection(sock=sock)))
        return self.peers[-1]

    async def runtime(self, name: str = "web") -> Peer:
        runtime = await self.peer()
        await runtime.io(Command.ATTACH_VM, containerId=name)
        return runtime

    async def registered(self) -> Peer:
        runtime = await self.peer()
        await runtime.io(
            Command.REGISTER_VM,
            containerId="web",
            ctlSerial=str(self.guest.ctl),
            ioSerial=str(self.guest.io),
            console="/nowhere",
        )
        return runtime

    async def token(self) -> str:
        runtime = await self.peer()
        io = await runtime.io(Command.ATTACH_VM, containerId="web", numIOStreams=1)
        (token,) = io["tokens"]
        return str(token)

    async def shim(self, *, terminal: bool = False, exec_in: str = "") -> tuple[Peer, int]:
        """One whose process runs; with the number of its streams."""
        token = await self.token()
        shim = await self.peer()
        assert not (await shim.ask(Command.CONNECT_SHIM, token=token)).is_error
        started: dict[str, Any] = {"process": {"terminal": terminal, "args": ["sh"]}}
        started["container" if exec_in else "id"] = exec_in or "c1"
        runtime = await self.runtime()
        done = await runtime.hyper("execcmd" if exec_in else "newcontainer", [token], **started)
        assert not done.is_error, done.payload
        return shim, int(self.guest.commands[-1][1]["process"]["stdio"])


@asynccontextmanager
async def proxied(
    folder: Path, *, of_pod: bool = False, patience: float = WAIT
) -> AsyncIterator[Side]:
    path = folder / "proxy" / "proxy.sock"
    server = Server(path, of_pod=of_pod, patience=patience)
    async with asyncio.timeout(WAIT * 3), Guest(folder).running() as guest:
        task = asyncio.create_task(server.run())
        (await listening(path)).close()
        side = Side(guest, path)
        try:
            yield side
        finally:
            await closed(*(peer.writer for peer in side.peers))
            server.leave()
            await task
    assert not path.exists()


async def test_a_machine_is_registered_attached_and_forgotten(tmp_path: Path):
    async with proxied(tmp_path) as side:
        runtime = await side.registered()
        other = await side.peer()
        io = await other.io(Command.ATTACH_VM, containerId="web", numIOStreams=2)
        assert io["URL"] == f"unix://{side.path}"
        assert [len(token) for token in io["tokens"]] == [44, 44]
        assert (await other.io(Command.ATTACH_VM, containerId="web"))["tokens"] is None
        again = {"containerId": "web", "ctlSerial": "/x", "ioSerial": "/y"}
        assert "registered already" in await other.refused(Command.REGISTER_VM, **again)
        assert (await runtime.ask(Command.UNREGISTER_VM, containerId="web")).payload == b""
        assert "no virtual machine" in await runtime.refused(Command.ATTACH_VM, containerId="web")


async def test_registering_waits_until_the_guest_is_ready(tmp_path: Path):
    async with proxied(tmp_path) as side:
        side.guest.is_ready = False
        registering = asyncio.create_task(side.registered())
        await until(lambda: "io" in side.guest._writers)
        assert not registering.done()
        side.guest.ready()
        await registering


async def test_a_guest_that_cannot_be_reached_is_named(tmp_path: Path):
    async with proxied(tmp_path) as side:
        runtime = await side.peer()
        keys = {"containerId": "web", "ctlSerial": "/nowhere/a", "ioSerial": "/nowhere/b"}
        assert "/nowhere/a cannot be reached" in await runtime.refused(Command.REGISTER_VM, **keys)
        assert "no virtual machine" in await runtime.refused(Command.ATTACH_VM, containerId="web")


async def test_commands_are_passed_to_the_guest_and_its_answers_back(tmp_path: Path):
    async with proxied(tmp_path) as side:
        runtime = await side.registered()
        side.guest.answers[hyperstart.PS_CONTAINER] = (hyperstart.ACK, b"PID CMD\n")
        side.guest.answers[hyperstart.KILL_CONTAINER] = (hyperstart.ERROR, b"no such container\0")
        assert (await runtime.hyper("startpod", hostname="web")).payload == b""
        listed = await runtime.hyper("pscontainer", container="c1", format="table")
        assert (listed.payload, listed.is_error) == (b"PID CMD\n", False)
        killed = await runtime.hyper("killcontainer", container="c1", signal=9)
        assert json.loads(killed.payload)["msg"] == (
            "ERROR received from VM agent, control msg received : no such container"
        )
        assert side.guest.commands[0] == (hyperstart.START_POD, {"hostname": "web"})


@pytest.mark.parametrize(
    ("name", "tokens", "says"),
    [
        ("shutdown", None, "unknown command 'shutdown'"),
        ("startpod", ["t"], "startpod takes no tokens"),
        ("newcontainer", ["a", "b"], "takes one token at most"),
        ("execcmd", ["a"], "there is no token 'a'"),
        ("newcontainer", None, "there is no process"),
    ],
)
async def test_what_the_tables_do_not_have_is_refused(tmp_path: Path, name, tokens, says):
    async with proxied(tmp_path) as side:
        stranger = await side.peer()
        assert "register or attach" in await stranger.refused(Command.HYPER, hyperName="ping")
        runtime = await side.registered()
        answer = await runtime.hyper(name, tokens)
        assert answer.is_error
        assert says in json.loads(answer.payload)["msg"]
        assert side.guest.commands == []


async def test_a_process_runs_behind_its_shim_to_its_end(tmp_path: Path):
    async with proxied(tmp_path) as side:
        await side.registered()
        shim, base = await side.shim()
        assert base == 3
        assert side.guest.commands[-1][1]["process"]["stderr"] == 4
        shim.send(Type.STREAM, Stream.STDIN, b"typed")
        shim.send(Type.STREAM, Stream.STDIN)
        await until(lambda: side.guest.input == [(3, b"typed"), (3, b"")])
        side.guest.says(3, b"!")
        side.guest.says(4, b"oops")
        side.guest.says(1, b"for nobody")
        side.guest.says(3, b"")
        side.guest.says(3, b"\x07")
        frames = [await shim.frame() for _ in range(3)]
        assert frames == [
            Frame(Type.STREAM, Stream.STDOUT, b"!"),
            Frame(Type.STREAM, Stream.STDERR, b"oops"),
            Frame(Type.NOTIFICATION, Notification.PROCESS_EXITED, b"\x07"),
        ]
        shim.send(Type.COMMAND, Command.DISCONNECT_SHIM)
        assert await shim.frame() is None


async def test_each_token_has_numbers_of_its_own_and_starts_one_process(tmp_path: Path):
    async with proxied(tmp_path) as side:
        await side.registered()
        _, first = await side.shim(terminal=True)
        assert "stderr" not in side.guest.commands[-1][1]["process"]
        token = await side.token()
        shim = await side.peer()
        await shim.ask(Command.CONNECT_SHIM, token=token)
        runtime = await side.runtime()
        await runtime.hyper("newcontainer", [token], id="c2", process={"args": ["x"]})
        assert (first, side.guest.commands[-1][1]["process"]["stdio"]) == (3, 5)
        again = await runtime.hyper("newcontainer", [token], id="c3", process={"args": ["x"]})
        assert "started with this token already" in json.loads(again.payload)["msg"]


async def test_without_a_token_the_output_goes_nowhere(tmp_path: Path):
    async with proxied(tmp_path) as side:
        runtime = await side.registered()
        await runtime.hyper("newcontainer", [], id="c1", process={"args": ["x"]})
        wanted = side.guest.commands[-1][1]["process"]
        assert (wanted["stdio"], wanted["stderr"]) == (1, 2)


async def test_a_start_waits_for_the_shim_but_not_for_ever(tmp_path: Path):
    async with proxied(tmp_path, patience=0.1) as side:
        runtime = await side.registered()
        token = await side.token()
        answer = await runtime.hyper("newcontainer", [token], id="c1", process={"args": ["x"]})
        assert "no shim has connected with the token within 0.1 s" in str(answer.payload)
        shim = await side.peer()
        await shim.ask(Command.CONNECT_SHIM, token=token)
        done = await runtime.hyper("newcontainer", [token], id="c1", process={"args": ["x"]})
        assert not done.is_error


async def test_one_shim_has_a_token_and_another_may_follow_when_it_is_gone(tmp_path: Path):
    async with proxied(tmp_path) as side:
        await side.registered()
        token = await side.token()
        first, second = await side.peer(), await side.peer()
        assert "there is no token" in await first.refused(Command.CONNECT_SHIM, token="x")
        await first.ask(Command.CONNECT_SHIM, token=token)
        assert "another shim has" in await second.refused(Command.CONNECT_SHIM, token=token)
        first.writer.transport.abort()
        answer = await second.ask(Command.CONNECT_SHIM, token=token)
        while answer.is_error:  # until the proxy has seen the first one leave
            answer = await second.ask(Command.CONNECT_SHIM, token=token)


async def test_signals_reach_a_containers_first_process(tmp_path: Path):
    async with proxied(tmp_path) as side:
        await side.registered()
        shim, base = await side.shim(terminal=True)
        assert not (await shim.ask(Command.SIGNAL, signalNumber=10)).is_error
        kill = {"container": "c1", "signal": 10, "allProcesses": False}
        assert side.guest.commands[-1] == (hyperstart.KILL_CONTAINER, kill)
        await shim.ask(Command.SIGNAL, signalNumber=28, rows=30, columns=100)
        size = {"seq": base, "row": 30, "column": 100}
        assert side.guest.commands[-1] == (hyperstart.WINDOW_SIZE, size)
        for bad, says in (
            ({"signalNumber": 31}, "31 is no signal"),
            ({"signalNumber": 28}, "rows and columns"),
            ({"signalNumber": 15, "rows": 1}, "has no size"),
        ):
            assert says in await shim.refused(Command.SIGNAL, **bad)
        added, _ = await side.shim(exec_in="c1")
        assert "only a container's first" in await added.refused(Command.SIGNAL, signalNumber=15)
        stranger = await side.peer()
        assert "only a shim" in await stranger.refused(Command.SIGNAL, signalNumber=15)


async def test_a_shim_whose_process_never_started_can_be_ended(tmp_path: Path):
    async with proxied(tmp_path) as side:
        await side.registered()
        shim = await side.peer()
        await shim.ask(Command.CONNECT_SHIM, token=await side.token())
        shim.send(Type.COMMAND, Command.SIGNAL, {"signalNumber": 15})
        exited, answer = await shim.frame(), await shim.frame()
        assert exited == Frame(Type.NOTIFICATION, Notification.PROCESS_EXITED, b"\0")
        assert answer == Frame(Type.RESPONSE, Command.SIGNAL)


def _oversized(peer: Peer) -> None:
    peer.send(Type.STREAM, Stream.STDIN, bytes(10_240))


@pytest.mark.parametrize(
    "breaks",
    [
        lambda peer: peer.send(Type.RESPONSE, 0),
        lambda peer: peer.send(Type.NOTIFICATION, 0),
        lambda peer: peer.send(Type.STREAM, Stream.STDOUT, b"x"),
        lambda peer: peer.send(Type.STREAM, Stream.LOG, b"{}"),
        lambda peer: peer.send(
            Type.STREAM, Stream.LOG, {"source": "x", "level": "info", "msg": "m"}
        ),
        lambda peer: peer.writer.write(bytes(12)),
        _oversized,
    ],
    ids=["response", "notification", "stdout", "no log", "no source", "version", "oversized"],
)
async def test_whoever_breaks_the_protocol_is_hung_up_on_and_nobody_else(
    tmp_path: Path, breaks: Callable[[Peer], None]
):
    async with proxied(tmp_path) as side:
        runtime = await side.registered()
        shim, _ = await side.shim()
        breaks(shim)
        assert await shim.frame() is None
        assert not (await runtime.hyper("ping")).is_error


async def test_a_log_entry_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with proxied(tmp_path) as side:
        peer = await side.peer()
        peer.send(Type.STREAM, Stream.LOG, {"source": "shim", "level": "info", "msg": "hi\x1b"})
        await peer.refused(Command.ATTACH_VM, containerId="x")
    assert "info shim  'hi\\x1b'" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["end", "garbage"])
async def test_the_loss_of_the_guest_ends_commands_and_shims(tmp_path: Path, how: str):
    async with proxied(tmp_path) as side:
        runtime = await side.registered()
        shim, _ = await side.shim()
        side.guest.answers[hyperstart.PING] = (-1, b"")
        runtime.send(Type.COMMAND, Command.HYPER, {"hyperName": "ping"})
        await until(lambda: side.guest.commands[-1][0] == hyperstart.PING)
        getattr(side.guest, how)()
        answer = await runtime.frame()
        assert answer is not None
        assert "the guest is gone" in json.loads(answer.payload)["msg"]
        assert await shim.frame() is None
        assert "the guest is gone" in str((await runtime.hyper("ping")).payload)


async def test_the_proxy_of_a_pod_ends_with_it(tmp_path: Path):
    path = tmp_path / "proxy.sock"
    server = Server(path, of_pod=True)
    async with asyncio.timeout(WAIT), Guest(tmp_path).running() as guest:
        task = asyncio.create_task(server.run())
        (await listening(path)).close()
        side = Side(guest, path)
        runtime = await side.registered()
        other = {"containerId": "b", "ctlSerial": "/x", "ioSerial": "/y"}
        assert "its pod's" in await runtime.refused(Command.REGISTER_VM, **other)
        await runtime.ask(Command.UNREGISTER_VM, containerId="web")
        assert not task.done()
        guest.end()
        await task
        await closed(runtime.writer)


async def test_the_program_serves_and_ends(tmp_path: Path):
    path = tmp_path / "proxy.sock"
    argv = (sys.executable, "-m", "vctui.companions.ccproxy", "-uri", f"unix://{path}")
    program = process.spawn_detached(argv)
    try:
        sock = await listening(path)
        peer = Peer(*await asyncio.open_unix_connection(sock=sock))
        assert "no virtual machine" in await peer.refused(Command.ATTACH_VM, containerId="x")
        os.kill(program.pid, signal.SIGTERM)
        assert await process.wait_end(program.pid, program.started) == 0
        await closed(peer.writer)
    finally:
        await process.terminate(program.pid, program.started, timeout=0)
    for wrong in ((), ("-uri", "relative"), ("-ksm", "auto")):
        done = await process.run((*argv[:3], *wrong))
        assert (done.returncode, done.stderr[:6]) == (1, b"usage:")


@given(st.binary(max_size=60))
@example(b'"\x80"')
@example(b"[" * 100_000)
def test_any_bytes_are_a_process_or_a_refusal(noise: bytes):
    with pytest.raises(BadRequest):
        with_streams(noise, 3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("process", "id", "stdio", "x")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_document_is_a_process_or_a_refusal(value: Any):
    try:
        data, _ = with_streams(json.dumps(value).encode(), 3)
    except BadRequest:
        return
    assert json.loads(data)["process"]["stdio"] == 3
