"""A pod with a scripted machine, and monitors that watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tests.fakes.fake_qemu import FakeQemu
from vctui.companions.monitor.core import Config, Monitor
from vctui.drivers import monitor_client
from vctui.drivers.hypervisors.qemu import qmp
from vctui.drivers.shims.base import ShimParams
from vctui.drivers.shims.builtin import BuiltinShim
from vctui.linux import sockets
from vctui.model.container import Cmd, ContainerConfig, ContainerRecord, ExecRecord, Process
from vctui.model.events import EventKind
from vctui.model.kinds import AgentProtocol, SocketType
from vctui.model.pod import PodConfig, PodRecord
from vctui.model.proxy import ProxyConfig
from vctui.model.state import State
from vctui.store.sqlite import SqliteStore
from vctui.wire import monitor

POD = "web"
WAIT = 10.0
"""Seconds after which a test gives up waiting for something that should happen at once."""


T = TypeVar("T")


async def until(look: Callable[[], T]) -> T:
    """What `look` finds, as soon as it finds anything; fails after WAIT seconds."""
    async with asyncio.timeout(WAIT):
        while not (found := look()):  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.01)
    return found


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


class Pod:
    """A pod in the store, its scripted machine, and the way to its monitor."""

    def __init__(self, root: Path, qemu: FakeQemu) -> None:
        self.run_dir = qemu.run_dir
        self.state_dir = root / "state"
        self.qemu = qemu
        self.agent = qemu.agent
        self.store = SqliteStore(self.state_dir)
        self.shim = BuiltinShim()

    def record(
        self,
        *,
        state: State = State.RUNNING,
        operation: str = "",
        terminal: bool = False,
        config: PodConfig = PodConfig(id=POD),  # noqa: B008 - frozen
    ) -> None:
        """Put the pod with one running container `c1` into the store."""
        cmd = Cmd(args=("sh",), interactive=terminal)
        container = ContainerRecord(
            config=ContainerConfig(id="c1", rootfs="busybox", cmd=cmd), state=State.RUNNING
        )
        record = PodRecord(
            config=config,
            created=datetime.now(UTC),
            state=state,
            operation=operation,
            machine=self.qemu.machine,
            containers=(container,),
        )
        with self.store.transaction() as tx:
            tx.add_pod(record)

    def add_exec(self, token: str) -> None:
        process = Process(token=token, pid=1, start_time=datetime.now(UTC))
        with self.store.transaction() as tx:
            tx.save_exec(
                POD, ExecRecord(container_id="c1", cmd=Cmd(args=("true",)), process=process)
            )

    def change(self, **fields: object) -> None:
        with self.store.transaction() as tx:
            tx.save_pod(msgspec.structs.replace(tx.pod(POD), **fields))

    def events(self, kind: EventKind) -> list[str]:
        return [event.message for event in self.store.events() if event.kind is kind]

    async def until_event(self, kind: EventKind) -> str:
        return (await until(lambda: self.events(kind)))[0]

    async def until_log(self, path: Path, ending: bytes) -> bytes:
        """The content of `path` as soon as it ends so."""
        return await until(lambda: content(path) if content(path).endswith(ending) else b"")

    @property
    def container_log(self) -> Path:
        return self.run_dir / "logs" / "containers" / "c1.log"

    async def start_shim(
        self, token: str = "c1", *, terminal: bool = False, console: str = ""
    ) -> None:
        await self.shim.start(
            self.run_dir,
            ShimParams(
                container_id="c1",
                token=token,
                terminal=terminal,
                log=token == "c1",
                console=console,
            ),
        )

    async def await_agent(self, timeout: float = WAIT) -> monitor.Hello:
        async with monitor_client.connected(self.run_dir) as session:
            return await monitor_client.call(
                session,
                self.run_dir,
                "AwaitAgent",
                monitor.AwaitAgent(timeout=timeout),
                monitor.Hello,
                timeout=WAIT + timeout,
            )


@asynccontextmanager
async def running_monitor(
    pod: Pod,
    *,
    max_log_bytes: int = 1 << 20,
    replay_bytes: int = 4096,
    proxy: ProxyConfig = ProxyConfig(),  # noqa: B008 - frozen
    protocol: AgentProtocol = AgentProtocol.TTRPC,
    socket_type: SocketType = SocketType.UNIX,
) -> AsyncIterator[asyncio.Task[None]]:
    """A monitor in this process; leaves it at the end of the block if it still runs."""
    config = Config(
        pod_id=POD,
        run_dir=pod.run_dir,
        max_log_bytes=max_log_bytes,
        replay_bytes=replay_bytes,
        agent_chardev="agent.channel.0",
        agent_protocol=protocol,
        socket_type=socket_type,
        proxy=proxy,
    )
    watching = Monitor(config, lambda: SqliteStore(pod.state_dir), qmp.connect)
    listening = sockets.listen(pod.run_dir / "monitor.sock")
    task = asyncio.create_task(watching.run(listening))
    try:
        yield task
    finally:
        watching.leave()
        async with asyncio.timeout(WAIT):
            await task


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    run_dir = tmp_path / "run" / "pods" / POD
    (run_dir / "share").mkdir(parents=True)
    async with FakeQemu(run_dir) as qemu:
        pod = Pod(tmp_path, qemu)
        yield pod
        pod.store.close()


@pytest.fixture
async def ready(pod: Pod) -> AsyncIterator[Pod]:
    """A monitor that has watched the pod since its boot, with an agent that answers."""
    pod.record(state=State.READY, operation="start")
    async with running_monitor(pod):
        await pod.qemu.open_port()
        await pod.await_agent()
        pod.change(state=State.RUNNING, operation="")
        yield pod
