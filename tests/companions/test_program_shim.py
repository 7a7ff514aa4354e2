"""Shims that are programs: their streams, signals and exit status are the process's."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.companions.conftest import WAIT, until
from vctui.companions.monitor.fanout import Listener
from vctui.companions.monitor.kata_shim import KataShim
from vctui.companions.monitor.processes import Processes
from vctui.companions.monitor.program_shim import Family
from vctui.companions.monitor.standin import StandIn
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import process
from vctui.model.shim import ShimConfig
from vctui.wire import crilog, ttrpc
from vctui.wire.monitor import Exit, Size, StartShim
from vctui.wire.pb import agent_pb2


class Program(Family):
    """A shell script in the place of a shim."""

    def __init__(self, script: str, folder: Path) -> None:
        self.script = script
        self.folder = folder
        self.sizes: list[Size] = []
        self.killed: list[str] = []
        self.way = asyncio.Event()
        self.way.set()
        self.lost = ""

    @property
    def has_way(self) -> bool:
        return self.way.is_set()

    async def way_back(self) -> str:
        await self.way.wait()
        return self.lost

    def argv(self, start: StartShim) -> Sequence[str]:
        if not self.script:
            return ("/nowhere/shim",)
        return ("/bin/sh", "-c", self.script, "shim", str(self.folder))

    async def resize(self, start: StartShim, size: Size) -> None:
        self.sizes.append(size)

    async def kill(self, start: StartShim) -> None:
        self.killed.append(start.token)


class Client(Listener):
    def __init__(self) -> None:
        self.seen = b""

    @property
    def is_behind(self) -> bool:
        return False

    def deliver(self, stream: int, data: bytes) -> None:
        self.seen += data

    def finish(self) -> None:
        pass


class NoAgent:
    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        raise CallFailed(ttrpc.UNIMPLEMENTED, "nobody asks here")

    async def ready(self) -> None:
        pass

    async def remembers_ended(self) -> bool:
        return False

    is_ready = True

    async def settled(self) -> str:
        return ""


def no_stand_in(start: StartShim, **_how: object) -> StandIn:
    raise AssertionError(f"a program is to stand for {start.token}")


class Pod:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ends: list[tuple[str, Exit]] = []
        self.renewed: list[int] = []
        self.processes = Processes(
            stand_in=no_stand_in,
            log_dir=folder,
            max_log_bytes=1 << 20,
            replay_bytes=4096,
            on_end=self._ended,
            on_renewed=self._renewed,
            warn=lambda _message: None,
        )

    async def run(
        self, script: str, *, terminal: bool = False, token: str = "c1"
    ) -> tuple[StandIn, Client, Program]:
        """A process `c1`, whose shim is `script`."""
        program = Program(script, self.folder)
        self.processes.leave_to(program)
        wanted = StartShim(container_id="c1", token=token, terminal=terminal, log=token == "c1")
        await self.processes.start(wanted)
        shim = self.processes.get(token)
        assert shim is not None
        client = Client()
        shim.join(client, 4096)
        return shim, client, program

    async def end(self, shim: StandIn) -> Exit:
        async with asyncio.timeout(WAIT):
            return await asyncio.shield(shim.exit)

    async def _ended(self, which: StartShim, how: Exit) -> None:
        self.ends.append((which.token, how))

    async def _renewed(self, _which: StartShim, pid: int) -> None:
        self.renewed.append(pid)


def pipes() -> int:
    """How many we have open."""
    found = 0
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(fd.readlink()).startswith(("pipe:", "/dev/pt"))
    return found


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    made = Pod(tmp_path)
    yield made
    async with asyncio.timeout(WAIT):
        await made.processes.leave_all()
    await until(lambda: not process.find_by_argument(tmp_path))


async def test_output_and_exit_status_are_the_programs(pod: Pod):
    shim, client, program = await pod.run("echo out; echo err >&2; exit 7")
    assert await pod.end(shim) == Exit(7)
    assert pod.ends == [("c1", Exit(7))]
    assert sorted(client.seen.split()) == [b"err", b"out"]
    lines = [crilog.parse(line) for line in (pod.folder / "c1.log").read_bytes().splitlines()]
    assert {(line.stream, line.text) for line in lines if line} == {
        ("stdout", b"out"),
        ("stderr", b"err"),
    }
    assert program.killed == []


async def test_input_goes_to_the_program_until_its_end(pod: Pod):
    shim, client, _ = await pod.run("cat; echo over")
    text = b"x" * 200_000
    await shim.write(text)
    await shim.close_stdin()
    assert await pod.end(shim) == Exit(0)
    assert client.seen == text + b"over\n"
    with pytest.raises(CallFailed, match="takes no input"):
        await shim.write(b"more")


async def test_a_terminal_is_the_programs_own_and_sizes_come_as_signals(pod: Pod):
    script = "trap 'stty size; exit 3' WINCH; test -t 0 && echo ready; while :; do sleep 0.01; done"
    shim, client, program = await pod.run(script, terminal=True)
    await until(lambda: b"ready" in client.seen)
    await shim.resize(Size(33, 111))
    assert await pod.end(shim) == Exit(3)
    assert b"33 111" in client.seen
    assert program.sizes == [Size(33, 111)]


async def test_a_shim_that_is_killed_is_reported_and_its_process_ended(pod: Pod):
    shim, _, program = await pod.run("exec sleep 1000")
    assert os.getsid(shim.pid) == shim.pid
    os.kill(shim.pid, signal.SIGKILL)
    how = await pod.end(shim)
    assert how == Exit(None, f"its shim (process {shim.pid}) was killed by signal 9")
    assert program.killed == ["c1"]


async def test_a_shim_that_may_have_failed_leaves_no_process_behind(pod: Pod):
    shim, _, program = await pod.run("exit 1")
    assert await pod.end(shim) == Exit(1)
    assert program.killed == ["c1"]


async def test_children_of_the_program_do_not_hold_its_end_up(pod: Pod):
    shim, client, _ = await pod.run("sleep 5 & echo said")
    assert await pod.end(shim) == Exit(0)
    assert client.seen == b"said\n"


async def test_a_program_that_is_cut_off_makes_room_for_another(pod: Pod):
    """Who has typed and looked on goes on with that one; input that has ended has ended there."""
    shim, client, program = await pod.run("echo new; cat; exit 7")
    await until(lambda: client.seen == b"new\n")
    first = shim.pid
    program.way.clear()
    pod.processes.cut_off()
    await until(lambda: not process.find_by_argument(pod.folder))
    typing = asyncio.create_task(shim.write(b"typed\n"))
    assert pod.renewed == []
    program.way.set()
    await typing
    await until(lambda: client.seen == b"new\nnew\ntyped\n")
    assert pod.renewed == [shim.pid]
    assert shim.pid != first
    await shim.close_stdin()
    assert await pod.end(shim) == Exit(7)
    assert program.killed == []


async def test_a_program_that_fails_without_its_way_does_not_speak_for_its_process(pod: Pod):
    shim, client, program = await pod.run("read line; echo got $line; exit 1")
    program.way.clear()
    await shim.write(b"first\n")
    await until(lambda: client.seen == b"got first\n" and shim.pid and not shim.has_ended)
    await until(lambda: not process.find_by_argument(pod.folder))
    program.way.set()
    await until(lambda: pod.renewed)
    await shim.write(b"second\n")
    assert await pod.end(shim) == Exit(1)
    assert client.seen == b"got first\ngot second\n"


async def test_a_process_whose_way_is_lost_for_good_ends_with_the_reason(pod: Pod):
    shim, _, program = await pod.run("exec sleep 1000")
    program.lost = "kata-proxy was killed"
    pod.processes.cut_off()
    assert await pod.end(shim) == Exit(None, "kata-proxy was killed")
    with pytest.raises(CallFailed, match="takes no input"):
        await shim.write(b"more")


async def test_a_terminal_keeps_its_size_when_its_program_is_renewed(pod: Pod):
    shim, client, _ = await pod.run("stty size; read line; exit 3", terminal=True)
    await until(lambda: b"0 0" in client.seen)
    await shim.resize(Size(33, 111))
    pod.processes.cut_off()
    await until(lambda: b"33 111" in client.seen)
    await shim.write(b"\n")
    assert await pod.end(shim) == Exit(3)


async def test_a_program_that_is_not_there_is_named_and_nothing_stays_open(pod: Pod):
    before = pipes()
    with pytest.raises(CallFailed, match="the shim /nowhere/shim of container 'c1' cannot be"):
        await pod.run("")
    assert pipes() == before
    assert pod.processes.get("c1") is None


async def test_whoever_leaves_takes_the_programs_along(pod: Pod):
    before = pipes()
    shim, _, _ = await pod.run("exec sleep 1000", token="t1")
    await pod.processes.leave_all()
    await until(lambda: not Path(f"/proc/{shim.pid}").exists())
    assert pipes() == before


# kata-shim


class Agent(NoAgent):
    def __init__(self, *, refuses: bool = False) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.refuses = refuses

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        self.calls.append((method, payload))
        if self.refuses:
            raise CallFailed(ttrpc.NOT_FOUND, "there is no such process")
        return b""


SOCKET = Path("/run/vctui/pods/web/grpc.sock")
URL = ("-agent", f"unix://{SOCKET}")


@pytest.mark.parametrize(
    ("start", "config", "argv"),
    [
        (
            StartShim(container_id="c1", token="c1"),
            ShimConfig(path="/s"),
            ("/s", *URL, "-container", "c1", "-exec-id", "c1"),
        ),
        (
            StartShim(container_id="c1", token="t1", terminal=True, log=True),
            ShimConfig(path="/s", debug=True),
            ("/s", *URL, "-container", "c1", "-exec-id", "t1", "-terminal", "-log", "debug"),
        ),
    ],
)
def test_kata_shims_command_line_is_the_tables(start, config, argv):
    assert KataShim(config, SOCKET, Agent()).argv(start) == argv


@pytest.mark.parametrize("refuses", [False, True])
async def test_what_kata_shim_leaves_undone_is_asked_of_the_agent(refuses: bool):
    agent = Agent(refuses=refuses)
    await KataShim(ShimConfig(path="/s"), SOCKET, agent).kill(
        StartShim(container_id="c1", token="t1")
    )
    ((method, payload),) = agent.calls
    request = agent_pb2.SignalProcessRequest.FromString(payload)
    assert (method, request.container_id, request.exec_id, request.signal) == (
        *("SignalProcess", "c1", "t1"),
        9,
    )


async def test_kata_shim_is_helped_with_the_first_size():
    agent = Agent()
    start = StartShim(container_id="c1", token="t1", terminal=True)
    await KataShim(ShimConfig(path="/s"), SOCKET, agent).resize(start, Size(33, 111))
    ((method, payload),) = agent.calls
    request = agent_pb2.TtyWinResizeRequest.FromString(payload)
    assert (method, request.exec_id, request.row, request.column) == ("TtyWinResize", "t1", 33, 111)


async def test_programs_are_found_by_the_urls_in_their_arguments(tmp_path: Path):
    script = "import sys; sys.stdin.read()"
    argv = (sys.executable, "-c", script, "-agent", f"unix://{tmp_path}/proxy.sock")
    reading, writing = os.pipe()
    spawned = process.spawn_detached(argv, stdin=reading)
    os.close(reading)
    try:
        # its arguments appear a moment after it was executed
        await until(lambda: process.find_by_argument(tmp_path) == [spawned])
    finally:
        os.close(writing)
        await process.terminate(spawned.pid, spawned.started, timeout=0)
