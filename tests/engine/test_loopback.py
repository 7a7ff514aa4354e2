"""Ports of a pod's loopback device. The processes that carry connections run on this host, and so
do the services."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tests.engine import conftest
from tests.engine.test_forward import Serve, ask, give, shout
from vctui.drivers.agents.noop import NoopAgent
from vctui.drivers.shims.base import Attachment, Output
from vctui.engine import container, loopback, streams
from vctui.engine.context import Context
from vctui.engine.runtime import Runtime
from vctui.errors import CommandFailed
from vctui.linux import probe, relay, sockets
from vctui.model.container import Cmd, Process
from vctui.model.kinds import AgentType
from vctui.model.ports import PortPair

WAIT = 30.0
NOBODY = "127.0.0.78"
"""An address of the pod at which nobody listens."""
NC = """\
import os, socket, sys, threading
if sys.argv[1] == "-h":
    sys.exit(HELP)
*options, address, port = sys.argv[1:]
there = socket.create_connection((address, int(port)))
def send():
    while data := os.read(0, 65536):
        there.sendall(data)
    if options == OPTIONS:
        there.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := there.recv(65536):
    while data:
        data = data[os.write(1, data):]
os._exit(0)
"""
BUSYBOX = f"HELP, OPTIONS = 'Usage: nc [OPTIONS] HOST PORT', []\n{NC}"
OPENBSD = f"HELP, OPTIONS = '\\t\\t-N\\t\\tShutdown the network socket after EOF', ['-N']\n{NC}"


class Local(Attachment):
    """A process of this host."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def __aiter__(self) -> AsyncIterator[Output]:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            yield Output(stream=1, data=data)
        self.exit_code = await self.process.wait()

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def resize(self, rows: int, columns: int) -> None:
        raise NotImplementedError

    async def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def detach(self) -> None:
        pass


class Guest(NoopAgent):
    """Its containers' processes are this host's; a container has the programs in its folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entered: list[str] = []
        self.processes_: dict[str, asyncio.subprocess.Process] = {}

    def program(self, container_id: str, name: str, text: str) -> None:
        folder = self.root / container_id
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    async def enter(self, _ctx: Context, _pod_id: str, container_id: str, cmd: Cmd) -> Process:
        self.entered.append(container_id)
        if not (self.root / container_id).is_dir():
            raise CommandFailed("there is no /bin/sh", exit_code=127)
        token = f"t{len(self.entered)}"
        self.processes_[token] = await asyncio.create_subprocess_exec(
            *cmd.args,
            env={"PATH": str(self.root / container_id)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return Process(token=token, pid=1, start_time=datetime.now(UTC))

    async def attach(self, _ctx: Context, _pod_id: str, _id: str, token: str) -> Attachment:
        return Local(self.processes_[token])

    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        self.processes_[token].send_signal(signal)

    async def end(self) -> None:
        """All processes must have ended, or do so now."""
        async with asyncio.timeout(WAIT):
            for process in self.processes_.values():
                await process.wait()
                process._transport.close()


@pytest.fixture
async def guest(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Guest]:
    """Of the pod `web`, whose containers `bare`, `empty` and `main` have no shell, no nc, and both
    of them."""
    made = Guest(tmp_path)
    made.program("empty", "other", "")
    made.program("main", "nc", f"#!{sys.executable} -S\n{BUSYBOX}")
    await runtime.run_pod(
        conftest.pod("web", *(conftest.container(name) for name in ("bare", "empty", "main")))
    )
    monkeypatch.setattr("vctui.engine.registry.agent", lambda *_: made)
    monkeypatch.setattr(container, "enter", made.enter)
    monkeypatch.setattr(streams, "attach", made.attach)
    yield made
    await made.end()


@contextlib.asynccontextmanager
async def service(serve: Serve, address: str = "127.0.0.1") -> AsyncIterator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionResetError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_and_close, address, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await sockets.stop(server)
        for writer in writers:
            await relay.close(writer)


@contextlib.asynccontextmanager
async def forwarded(runtime: Runtime, port: int, told: list[str]) -> AsyncIterator[int]:
    """The host's port that leads to a port of the pod."""
    async with runtime.port_forward("web", [PortPair(0, port)], tell=told.append) as made:
        yield made.bound[0].host_port


@pytest.mark.parametrize(("address", "nc"), [("127.0.0.1", BUSYBOX), ("::1", OPENBSD)])
async def test_a_service_on_the_loopback_device_is_reached(
    runtime: Runtime, guest: Guest, address: str, nc: str
):
    """Where nobody listens at the pod's address; the ends of either side are passed on."""
    if ":" in address and not probe.has_ipv6():
        pytest.skip("needs IPv6")
    give(runtime, f"{NOBODY}/8")
    guest.program("main", "nc", f"#!{sys.executable} -S\n{nc}")
    told: list[str] = []
    async with service(shout, address) as port, forwarded(runtime, port, told) as host_port:
        assert await ask("127.0.0.1", host_port, b"half closed") == b"HALF CLOSED"
        assert guest.entered == ["bare", "empty", "main"]
        assert await ask("127.0.0.1", host_port, b"again") == b"AGAIN"
        assert guest.entered[3:] == ["main"]
    assert told == []


async def test_a_pod_without_a_network_is_reached_and_much_passes_unchanged(
    runtime: Runtime, guest: Guest
):
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()

    sent, told = os.urandom(3_000_000), list[str]()
    async with service(echo, "0.0.0.0") as port, forwarded(runtime, port, told) as host_port:
        reader, writer = await asyncio.open_connection("127.0.0.1", host_port)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        await relay.close(writer)
    assert told == []


async def broken(host_port: int) -> bool:
    """Whether a new connection is broken off instead of answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host_port)
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True
    finally:
        await relay.close(writer)


async def test_nobody_who_listens_is_said(runtime: Runtime, guest: Guest):
    give(runtime, f"{NOBODY}/8")
    told: list[str] = []
    async with service(shout) as port:
        pass
    async with forwarded(runtime, port, told) as host_port:
        assert await broken(host_port)
    assert told == [f"nobody in pod 'web' listens on port {port}; start the service"]


async def test_containers_without_the_programs_for_it_are_said(runtime: Runtime, guest: Guest):
    (guest.root / "main" / "nc").unlink()
    told: list[str] = []
    async with service(shout) as port, forwarded(runtime, port, told) as host_port:
        assert await broken(host_port)
    (said,) = told
    assert "no container that runs there has the programs sh and nc; let the service" in said


async def test_an_agent_that_drops_input_is_not_used_for_it(runtime: Runtime, guest: Guest):
    store = runtime._reading.store
    with store.transaction() as tx:
        record = tx.pod("web")
        config = msgspec.structs.replace(record.config, agent_type=AgentType.HYPERSTART)
        tx.save_pod(msgspec.structs.replace(record, config=config))
    told: list[str] = []
    async with service(shout) as port, forwarded(runtime, port, told) as host_port:
        assert await broken(host_port)
    (said,) = told
    assert "as the agent hyperstart drops input" in said
    assert guest.entered == []


async def test_a_process_that_fails_breaks_the_connection(runtime: Runtime, guest: Guest):
    guest.program("main", "nc", "#!/bin/sh\nexit 1\n")
    told: list[str] = []
    async with service(shout) as port, forwarded(runtime, port, told) as host_port:
        reader, writer = await asyncio.open_connection("127.0.0.1", host_port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await relay.close(writer)
    assert told == []


async def test_a_process_that_never_answers_is_given_up_and_ended(
    runtime: Runtime, guest: Guest, monkeypatch: pytest.MonkeyPatch
):
    guest.program("main", "nc", "#!/bin/sh\nexec /bin/sleep 1000\n")
    waited: list[float] = []

    async def answers(_service: object, patience: float) -> bool:
        waited.append(patience)
        return False

    monkeypatch.setattr(loopback._Service, "answers", answers)
    told: list[str] = []
    async with service(shout) as port, forwarded(runtime, port, told) as host_port:
        assert await broken(host_port)
    assert "is out of reach, as the process that was to get there is gone" in told[0]
    assert len(waited) == 1


async def test_a_client_that_breaks_off_ends_the_process(runtime: Runtime, guest: Guest):
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"y")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        left.set()

    told: list[str] = []
    async with service(wait) as port, forwarded(runtime, port, told) as host_port:
        reader, writer = await asyncio.open_connection("127.0.0.1", host_port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"y"
        linger = b"\1\0\0\0\0\0\0\0"  # close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await relay.close(writer)
        async with asyncio.timeout(WAIT):
            await left.wait()


async def test_the_end_of_the_forwarding_ends_the_processes(runtime: Runtime, guest: Guest):
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"y")
        await reader.read()

    async with service(wait) as port:
        async with forwarded(runtime, port, []) as host_port:
            reader, writer = await asyncio.open_connection("127.0.0.1", host_port)
            assert await reader.readexactly(1) == b"y"
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await relay.close(writer)
        await guest.end()


async def test_more_than_enough_connections_are_refused(
    runtime: Runtime, guest: Guest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loopback, "_MAX_CONNECTIONS", 0)
    told: list[str] = []
    async with service(shout) as port, forwarded(runtime, port, told) as host_port:
        assert await broken(host_port)
    assert told == [
        "0 connections to the loopback device of pod 'web' are open; another one was refused"
    ]
    assert guest.entered == []
