"""The way to an agent that speaks hyperstart's protocol: our own agent's face of it on two sockets,
and peers that do as they like."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.guest.agent_program import AgentProgram
from vctui.companions.monitor.hyper_link import HyperLink
from vctui.companions.monitor.hyper_shim import HyperShim
from vctui.companions.monitor.hyper_streams import number
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import sockets
from vctui.wire import hyperstart, monitor

WAIT = 20.0


class Side:
    """A link, the sockets that a machine has for it, and processes that stand behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = (folder / "agent.sock", folder / "tty.sock")
        self.warnings: list[str] = []
        self.link = HyperLink(*self.paths, self.warnings.append)
        self.ended: dict[str, monitor.Exit] = {}

    async def accept(self, listening: list[socket.socket]) -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        return [(await loop.sock_accept(one))[0] for one in listening]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[socket.socket]]:
        """Yields the sockets' other ends."""
        listening = [sockets.listen(path) for path in self.paths]
        task = asyncio.create_task(self.link.run(adopting=False))
        self.link.port_opened()
        ends: list[socket.socket] = []
        try:
            async with asyncio.timeout(WAIT):
                ends = await self.accept(listening)
                yield ends
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.link.close()
            for one in (*listening, *ends):
                one.close()

    async def ask(self, command: str, data: object = None, token: str = "") -> bytes:
        body = json.dumps({"token": token, "data": data or {}}).encode()
        return await self.link.call(hyperstart.SERVICE, command, body)

    def shim(self, token: str, *, container: str = "c1") -> HyperShim:
        async def note(start: monitor.StartShim, how: monitor.Exit) -> None:
            self.ended[start.token] = how

        start = monitor.StartShim(container_id=container, token=token)
        return HyperShim(
            start,
            link=self.link,
            adopting=False,
            log=None,
            replay_bytes=1 << 20,
            on_end=note,
        )


@asynccontextmanager
async def pod(folder: Path) -> AsyncIterator[Side]:
    """With our agent behind it, whose containers are plain processes here."""
    side = Side(folder)
    async with side.running() as ends:
        agent = AgentProgram(ends, folder, "vctui.protocol=hyperstart")
        try:
            await side.link.ready()
            (folder / "kata/shared/containers/c1/rootfs").mkdir(parents=True)
            yield side
        finally:
            agent.end()


def process(token: str, *args: str, **more: object) -> dict[str, object]:
    return {"id": token, "terminal": False, "args": args, "envs": [], "workdir": "/", **more}


def container(*args: str, **more: object) -> dict[str, object]:
    told = process("c1", *args)
    return {"id": "c1", "image": "c1", "rootfs": "rootfs", "process": told, **more}


async def test_version_and_greeting_are_known(tmp_path: Path):
    async with pod(tmp_path) as side:
        assert side.link.version == 4244
        assert await side.ask("version") == b"4244"
        assert await side.ask("ping") == b""


@pytest.mark.parametrize("answered", [True, False])
async def test_the_answer_of_a_ping_is_not_taken_for_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: bool
):
    """A guest that greets late is pinged; the ping may have come before it was there."""
    monkeypatch.setattr("vctui.companions.monitor.hyper_link._GREETING", 0.01)
    side = Side(tmp_path)
    async with side.running() as ends:
        for end in ends:
            end.setblocking(False)
        peer = Peer(ends)
        pings = 1
        assert (await peer.hear()).command == hyperstart.PING
        await peer.say(hyperstart.READY)
        while (heard := await peer.hear()).command == hyperstart.PING:
            pings += 1
        assert heard.command == hyperstart.GET_VERSION
        for _ in range(pings if answered else 0):
            await peer.say(hyperstart.ACK)
        await peer.say(hyperstart.ACK, (4244).to_bytes(4, "big"))
        await side.link.ready()
        assert side.link.version == 4244
        asking = asyncio.create_task(side.ask("startpod", {"shareDir": "x"}))
        await peer.hear()
        await peer.say(hyperstart.ACK)
        assert await asking == b""


@pytest.mark.parametrize(
    ("command", "data", "why"),
    [
        ("newcontainer", container("/bin/true", macAddr="x"), "no key 'macAddr'"),
        ("execcmd", {"container": "c9", "process": process("t", "/bin/true")}, "container 'c9'"),
        ("killcontainer", {"container": "c9", "signal": 9}, "container 'c9'"),
        ("pscontainer", {"container": "c1", "format": "json"}, "no such command"),
        ("startpod", {"shareDir": "x", "pod": 1}, "no key 'pod'"),
        ("startpod", {"hostname": "x"}, "KeyError: 'shareDir'"),
    ],
)
async def test_what_the_agent_refuses_is_an_error(
    tmp_path: Path, command: str, data: object, why: str
):
    async with pod(tmp_path) as side:
        with pytest.raises(CallFailed, match=why):
            await side.ask(command, data, token="t")
        assert await side.ask("ping") == b""


async def test_a_command_that_there_is_not_or_that_is_too_long_is_not_sent(tmp_path: Path):
    async with pod(tmp_path) as side:
        with pytest.raises(CallFailed, match="no command"):
            await side.ask("dance")
        with pytest.raises(CallFailed, match="limit"):
            await side.ask("startpod", {"hostname": "x" * hyperstart.MAX_SENT})
        assert await side.ask("ping") == b""


class Peer:
    """The guest's end of both channels, by hand."""

    def __init__(self, ends: list[socket.socket]) -> None:
        self.control, self.streams = ends
        self._decoder = hyperstart.ControlDecoder()
        self._commands: list[hyperstart.Control] = []

    async def say(self, command: int, payload: bytes = b"") -> None:
        frame = hyperstart.encode_control(command, payload)
        await asyncio.get_running_loop().sock_sendall(self.control, frame)

    async def stream(self, sequence: int, data: bytes = b"") -> None:
        frame = hyperstart.encode_stream(sequence, data)
        await asyncio.get_running_loop().sock_sendall(self.streams, frame)

    async def hear(self) -> hyperstart.Control:
        while not self._commands:
            data = await asyncio.get_running_loop().sock_recv(self.control, 65536)
            assert data
            self._commands += self._decoder.feed(data)
        return self._commands.pop(0)


@asynccontextmanager
async def by_hand(folder: Path, version: int | None = None) -> AsyncIterator[tuple[Side, Peer]]:
    """As hyperstart, or as Clear Containers' agent, which does not tell its version."""
    side = Side(folder)
    async with side.running() as ends:
        for end in ends:
            end.setblocking(False)
        peer = Peer(ends)
        await peer.say(hyperstart.READY)
        assert (await peer.hear()).command == hyperstart.GET_VERSION
        if version is None:
            await peer.say(hyperstart.ERROR, b"no handler")
        else:
            await peer.say(hyperstart.ACK, version.to_bytes(4, "big"))
        await side.link.ready()
        assert side.link.version == version
        yield side, peer


async def test_output_of_both_streams_and_the_status_byte_after_its_end_arrive(tmp_path: Path):
    async with by_hand(tmp_path) as (side, peer):
        starting = asyncio.create_task(
            side.ask("newcontainer", {"process": {"terminal": False}}, token="c1")
        )
        told = json.loads((await peer.hear()).payload)["process"]
        assert (told["stdio"], told["stderr"]) == (number("c1"), number("c1") + 1)
        await peer.say(hyperstart.NEXT, b"\0\0\0\10")
        await peer.say(hyperstart.ACK)
        assert await starting == b""
        await peer.stream(told["stdio"], b"out")
        await peer.stream(told["stderr"], b"err")
        await peer.stream(99, b"of nobody")
        await peer.stream(told["stdio"], b"7")
        await peer.stream(told["stdio"])
        await peer.stream(told["stdio"], b"\7")
        shim = side.shim("c1")
        await shim.run()
        assert shim.output.recent() == b"outerr7"
        assert side.ended["c1"] == monitor.Exit(7)


async def test_an_event_tells_the_end_as_well_even_before_the_last_output(tmp_path: Path):
    async with by_hand(tmp_path) as (side, peer):
        shim = side.shim("t1")
        event = {"container": "c1", "process": "t1", "event": "finished", "status": 3}
        await peer.say(hyperstart.PROCESS_ENDED, json.dumps(event).encode())
        await peer.say(hyperstart.PROCESS_ENDED, b"{nonsense")
        await peer.stream(number("t1"), b"last")
        await peer.stream(number("t1"))
        await shim.run()
        assert (shim.output.recent(), side.ended["t1"]) == (b"last", monitor.Exit(3))


class Typed:
    """What came of the input of processes."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._decoder = hyperstart.StreamDecoder()
        self._frames: list[hyperstart.Stream] = []

    async def next(self) -> hyperstart.Stream:
        while not self._frames:
            data = await asyncio.get_running_loop().sock_recv(self._peer.streams, 65536)
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)


async def test_input_is_cut_small_and_its_end_is_an_empty_frame(tmp_path: Path):
    """It waits for the process to be started: before, it would be input for nobody."""
    async with by_hand(tmp_path) as (side, peer):
        shim = side.shim("t1")
        starting = asyncio.create_task(side.ask("execcmd", {"process": {}}, token="t1"))
        typing = asyncio.create_task(shim.write(b"x" * 1000))
        await peer.hear()
        assert side.link.streams.open("t1", terminal=False).is_known.is_set() is False
        assert not typing.done()
        await peer.say(hyperstart.ACK)
        await asyncio.gather(starting, typing)
        await shim.close_stdin()
        typed = Typed(peer)
        found = [await typed.next() for _ in range(3)]
        assert [len(one.data) for one in found] == [500, 500, 0]
        assert {one.sequence for one in found} == {number("t1")}


async def test_hyperstart_is_given_input_as_it_takes_it(tmp_path: Path):
    """A piece, and an empty frame for nobody, until that is answered, again where it was lost."""
    async with by_hand(tmp_path, 4244) as (side, peer):
        shim = side.shim("t1")
        side.link.streams.begun("t1")
        typing = asyncio.create_task(shim.write(b"x" * 1000))
        typed, nobody = Typed(peer), number("t1") + 1
        assert await typed.next() == hyperstart.Stream(number("t1"), b"x" * 512)
        assert await typed.next() == hyperstart.Stream(nobody)
        assert await typed.next() == hyperstart.Stream(nobody)  # the first had no answer
        assert not typing.done()
        await peer.stream(nobody)
        while (piece := await typed.next()) == hyperstart.Stream(nobody):
            pass
        assert piece == hyperstart.Stream(number("t1"), b"x" * 488)
        await peer.stream(nobody)
        await typing
        assert not side.ended


async def test_input_for_a_process_that_has_ended_is_not_waited_for(tmp_path: Path):
    async with by_hand(tmp_path, 4244) as (side, peer):
        shim = side.shim("t1")
        side.link.streams.begun("t1")
        typing = asyncio.create_task(shim.write(b"x" * 5000))
        await peer.stream(number("t1"))
        await typing


async def test_after_a_ragged_frame_the_port_is_to_have_taken_it(tmp_path: Path):
    """Or the next one's header might be cut in two where a buffer of the port ends."""
    loop = asyncio.get_running_loop()
    async with by_hand(tmp_path) as (side, peer):
        shim = side.shim("t1")
        side.link.streams.begun("t1")
        await shim.write(b"1234" * 5)  # 32 bytes with their header
        await shim.write(b"odd")
        waiting = asyncio.create_task(shim.write(b"more"))
        assert len(await loop.sock_recv(peer.streams, 32)) == 32
        assert not (await asyncio.wait({waiting}, timeout=0.1))[0]
        assert (await loop.sock_recv(peer.streams, 4096)).endswith(b"odd")
        await waiting
        assert (await loop.sock_recv(peer.streams, 4096)).endswith(b"more")


async def test_a_process_that_was_not_started_ends_without_a_status(tmp_path: Path):
    async with by_hand(tmp_path) as (side, peer):
        starting = asyncio.create_task(side.ask("execcmd", {"process": {}}, token="t1"))
        shim = side.shim("t1")
        running = asyncio.create_task(shim.run())
        await peer.hear()
        await peer.say(hyperstart.ERROR, b"no such program\0")
        with pytest.raises(CallFailed, match=r"^no such program$"):
            await starting
        await running
        assert side.ended["t1"].exit_code is None


async def test_answers_stay_in_order_and_a_lost_channel_fails_who_waits(tmp_path: Path):
    async with by_hand(tmp_path) as (side, peer):
        asking = [asyncio.create_task(side.ask("ping")) for _ in range(3)]
        for _ in asking[:2]:
            assert (await peer.hear()).command == hyperstart.PING
            await peer.say(hyperstart.ACK, b"x")
        assert await asyncio.gather(*asking[:2]) == [b"x", b"x"]
        await peer.hear()
        side.link.port_closed()
        with pytest.raises(ConnectionLost):
            await asking[2]
        with pytest.raises(ConnectionLost):
            await side.ask("ping")


async def test_a_guest_that_lies_about_lengths_is_given_up_with_one_warning(tmp_path: Path):
    async with by_hand(tmp_path) as (side, peer):
        waiting = asyncio.create_task(side.ask("ping"))
        await peer.hear()
        await asyncio.get_running_loop().sock_sendall(peer.control, b"\0\0\0\1\xff\xff\xff\xff")
        with pytest.raises(ConnectionLost):
            await waiting
        while not side.link.given_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(side.warnings) == 1
