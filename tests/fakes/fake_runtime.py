"""A Runtime without machines: the same calls, over pods that only live in memory.

Every call is noted in `calls`. `hold` makes a call wait until it is let go, `fail` makes it
raise; both may be used from another thread than the runtime's.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec

from vctui.drivers.shims.base import Attachment, Output
from vctui.errors import AlreadyExists, NotFound, ReadOnly, VctuiError
from vctui.model.agent import AgentConfig
from vctui.model.container import (
    Cmd,
    ContainerStatus,
    ExecRecord,
    Process,
    ProcessListOptions,
)
from vctui.model.doctor import Check
from vctui.model.events import Event, EventKind
from vctui.model.hypervisor import HypervisorConfig, Machine
from vctui.model.kinds import (
    AgentType,
    EndpointType,
    HypervisorType,
    NetInterworkingModel,
    ProxyType,
    ShimType,
)
from vctui.model.logs import LogLine, LogSource
from vctui.model.network import Dns, Endpoint, Interface, PodNetwork, Route
from vctui.model.pod import PodConfig, PodStatus, Resources
from vctui.model.ports import BoundPort, PortPair
from vctui.model.proxy import ProxyConfig
from vctui.model.shim import ShimConfig
from vctui.model.state import State
from vctui.model.timeline import Timeline
from vctui.model.traffic import Traffic

BORN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def make_container(
    pod_id: str,
    container_id: str = "main",
    state: State = State.RUNNING,
    *,
    exit_code: int | None = None,
    args: tuple[str, ...] = ("/bin/sh", "-c", "while :; do date; sleep 1; done"),
) -> ContainerStatus:
    ended = state is State.STOPPED
    return ContainerStatus(
        id=container_id,
        state=state,
        pid=4242 if state is State.RUNNING else 0,
        start_time=None if state is State.READY else BORN,
        rootfs="busybox",
        annotations={},
        pod_id=pod_id,
        args=args,
        terminal=False,
        exit_code=(exit_code if exit_code is not None else 0) if ended else None,
        reason="",
        finished_time=BORN + timedelta(minutes=5) if ended else None,
    )


def make_pod(
    pod_id: str,
    state: State = State.RUNNING,
    containers: Iterable[str] = ("main",),
    *,
    reason: str = "",
    operation: str = "",
) -> PodStatus:
    up = state in (State.RUNNING, State.PAUSED)
    machine = Machine(
        uuid=f"uuid-{pod_id}",
        pid=4000,
        accelerator="tcg",
        boot="cold boot in 2.1 s",
        kernel="/var/lib/vctui/cache/guests/abc/vmlinux",
        initrd="/var/lib/vctui/cache/guests/abc/initrd",
        vcpus=1,
        memory=256,
    )
    return PodStatus(
        id=pod_id,
        state=state,
        hypervisor=HypervisorType.QEMU,
        hypervisor_config=HypervisorConfig(),
        agent=AgentType.KATA,
        agent_config=AgentConfig(),
        proxy=ProxyType.BUILTIN,
        proxy_config=ProxyConfig(),
        shim=ShimType.BUILTIN,
        shim_config=ShimConfig(),
        containers_status=tuple(make_container(pod_id, name, state) for name in containers),
        annotations={},
        hostname=pod_id,
        vm_config=Resources(vcpus=1, memory=256),
        reason=reason,
        operation=operation,
        created_time=BORN,
        start_time=BORN if up else None,
        machine=machine if up else None,
        monitor_pid=4001 if up else 0,
    )


def make_network(*names: str) -> PodNetwork:
    """A network of these interfaces, each with addresses of both families."""
    return PodNetwork(
        namespace="/run/vctui/pods/web/netns",
        created=True,
        endpoints=tuple(
            Endpoint(
                type=EndpointType.VETH,
                index=number,
                interface=Interface(
                    name=name,
                    mac=f"02:00:00:00:00:0{number}",
                    mtu=1500,
                    addresses=(f"10.88.{number}.2/16", f"fd00:{number}::2/64"),
                ),
                model=NetInterworkingModel.TC_FILTER,
                tap=f"tap{number}",
            )
            for number, name in enumerate(names)
        ),
        routes=(
            Route(device=names[0], gateway="10.88.0.1"),
            Route(device=names[0], dest="fd99::/64", gateway="fd00:0::1", family=6),
        ),
        dns=Dns(nameservers=("10.88.0.1",), search=("pods.example",)),
    )


class FakeAttachment(Attachment):
    """A terminal that shows `greeting` and what is typed; `exit` and Return ends it with 0."""

    def __init__(self, greeting: bytes) -> None:
        self.written = bytearray()
        self.sizes: list[tuple[int, int]] = []
        self.detached = False
        self._output: asyncio.Queue[Output | None] = asyncio.Queue()
        self._line = b""
        self.say(greeting)

    def say(self, data: bytes) -> None:
        self._output.put_nowait(Output(stream=1, data=data))

    def end(self, exit_code: int | None, reason: str = "") -> None:
        self.exit_code, self.reason = exit_code, reason
        self._output.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Output]:
        while (output := await self._output.get()) is not None:
            yield output

    async def write(self, data: bytes) -> None:
        self.written += data
        self._line += data
        self.say(data.replace(b"\r", b"\r\n"))
        if b"\r" in data:
            line, self._line = self._line, b""
            if line.strip() == b"exit":
                self.end(0)
            else:
                self.say(b"/ # ")

    async def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    async def close_stdin(self) -> None:
        self.end(0)

    async def detach(self) -> None:
        if not self.detached:
            self.detached = True
            self._output.put_nowait(None)


class FakeForward:
    """Ports that lead nowhere, until `end`."""

    def __init__(self, pairs: Sequence[PortPair], tell: Callable[[str], None]) -> None:
        self.bound = tuple(
            BoundPort("127.0.0.1", one.host_port or 40000, one.pod_port) for one in pairs
        )
        self.tell = tell
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    def end(self, error: BaseException) -> None:
        """What the pod's end does. From any thread."""
        self._loop.call_soon_threadsafe(self._ended.set_exception, error)

    async def until_pod_ends(self) -> None:
        await self._ended


class FakeRuntime:
    def __init__(self, pods: Iterable[PodStatus] = (), *, read_only: bool = False) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.terminals: list[FakeAttachment] = []
        """What was attached to, the newest last."""
        self.consoles: list[FakeAttachment] = []
        self.forwards: list[FakeForward] = []
        """What was forwarded, the newest last."""
        self._looks = 0
        self.checks: tuple[Check, ...] = ()
        self.timelines: dict[str, Timeline] = {}
        self.processes: bytes = msgspec.json.encode(
            [
                {"pid": 1, "ppid": 0, "user": "root", "state": "S", "cpu_ms": 120,
                 "rss_kib": 900, "started": "", "args": "/bin/sh -c while :; do date; done"},
                {"pid": 7, "ppid": 1, "user": "root", "state": "S", "cpu_ms": 3,
                 "rss_kib": 700, "started": "", "args": "sleep 1"},
            ]
        )  # fmt: skip
        self.log_lines: list[LogLine] = [
            LogLine(text=f"line {n}".encode(), time=BORN + timedelta(seconds=n), stream="stdout")
            for n in range(40)
        ]
        self.read_only = read_only
        self.filled = 0
        """How often the pool was to be filled."""
        self._pods = {pod.id: pod for pod in pods}
        self._execs: dict[str, list[ExecRecord]] = {}
        self._events: list[Event] = []
        self._tokens = itertools.count(1)
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._holds: dict[str, threading.Event] = {}
        self._failures: dict[str, BaseException] = {}

    # --- for tests, from any thread

    @property
    def pods(self) -> dict[str, PodStatus]:
        return self._pods

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def set_pod(self, pod: PodStatus | None, pod_id: str = "") -> None:
        """Add or replace a pod, or remove `pod_id`: what another process would do."""
        with self._lock:
            pods = dict(self._pods)
            if pod is None:
                pods.pop(pod_id, None)
            else:
                pods[pod.id] = pod
            self._pods = pods
        self._tell()

    def update(self, pod_id: str, **changes: Any) -> None:
        self.set_pod(msgspec.structs.replace(self._pods[pod_id], **changes))

    def hold(self, name: str) -> threading.Event:
        """Calls of this name wait until the event is set."""
        return self._holds.setdefault(name, threading.Event())

    def fail(self, name: str, error: BaseException) -> None:
        self._failures[name] = error

    def emit(self, kind: EventKind, pod_id: str, message: str) -> None:
        with self._lock:
            self._events.append(
                Event(
                    kind=kind,
                    pod_id=pod_id,
                    message=message,
                    time=datetime.now(UTC),
                    seq=len(self._events) + 1,
                )
            )
        self._tell()

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def fill_pool(self) -> None:
        self.filled += 1

    # --- life

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.calls.append(("close",))

    async def _enter(self, name: str, *args: Any, change: bool = True) -> None:
        if change and self.read_only:
            raise ReadOnly(f"cannot {name}: changes are switched off; run without --read-only")
        self.calls.append((name, *args))
        if (held := self._holds.get(name)) is not None:
            try:
                # Set by another thread.
                while not held.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                self.calls.append((f"{name} undone", *args))
                raise
        if (error := self._failures.get(name)) is not None:
            if isinstance(error, VctuiError):
                self.emit(EventKind.FAILED, str(args[0]), str(error))
            raise error

    def _find(self, pod_id: str) -> PodStatus:
        try:
            return self._pods[pod_id]
        except KeyError:
            raise NotFound(f"there is no pod {pod_id!r}; list the pods to see the ids") from None

    # --- pods

    async def _move(
        self,
        name: str,
        pod_id: str,
        state: State,
        kind: EventKind,
        progress: Callable[[str], None] | None = None,
    ) -> PodStatus:
        self.update(pod_id, operation=name.removesuffix("_pod"))
        try:
            if progress is not None:
                progress("talking to the fake")
            await self._enter(name, pod_id)
            was = self._find(pod_id)
            self.set_pod(make_pod(pod_id, state, [one.id for one in was.containers_status]))
            self.emit(kind, pod_id, f"pod {pod_id} is {state}")
        finally:
            if pod_id in self._pods:
                self.update(pod_id, operation="")
        return self._find(pod_id)

    def traffic(self, pod_id: str) -> tuple[Traffic, ...]:
        """Each look finds more."""
        network = self._find(pod_id).network
        self._looks += 1
        return tuple(
            Traffic(
                interface=one.interface.name,
                received=self._looks * 4096,
                sent=self._looks * 1024,
                received_packets=self._looks,
                sent_packets=self._looks,
            )
            for one in (network.endpoints if network else ())
        )

    @asynccontextmanager
    async def port_forward(
        self, pod_id: str, pairs: Sequence[PortPair], *, tell: Callable[[str], None]
    ) -> AsyncIterator[FakeForward]:
        await self._enter("port_forward", pod_id, *pairs)
        self.forwards.append(FakeForward(pairs, tell))
        try:
            yield self.forwards[-1]
        finally:
            self.calls.append(("forward closed", pod_id))

    def timeline(self, pod_id: str) -> Timeline | None:
        return self.timelines.get(pod_id)

    async def run_pod(self, config: PodConfig, *, progress: Callable[[str], None]) -> PodStatus:
        if config.id in self._pods:
            raise AlreadyExists(f"pod {config.id!r} exists already; choose another id")
        self.set_pod(make_pod(config.id, State.READY, [one.id for one in config.containers]))
        return await self._move(
            "run_pod", config.id, State.RUNNING, EventKind.POD_STARTED, progress
        )

    async def start_pod(self, pod_id: str, *, progress: Callable[[str], None]) -> PodStatus:
        return await self._move("start_pod", pod_id, State.RUNNING, EventKind.POD_STARTED, progress)

    async def stop_pod(self, pod_id: str, *, progress: Callable[[str], None]) -> PodStatus:
        return await self._move("stop_pod", pod_id, State.STOPPED, EventKind.POD_STOPPED, progress)

    async def restart_pod(self, pod_id: str, *, progress: Callable[[str], None]) -> PodStatus:
        return await self._move(
            "restart_pod", pod_id, State.RUNNING, EventKind.POD_STARTED, progress
        )

    async def pause_pod(self, pod_id: str) -> PodStatus:
        return await self._move("pause_pod", pod_id, State.PAUSED, EventKind.POD_PAUSED)

    async def resume_pod(self, pod_id: str) -> PodStatus:
        return await self._move("resume_pod", pod_id, State.RUNNING, EventKind.POD_RESUMED)

    async def delete_pod(self, pod_id: str, *, progress: Callable[[str], None]) -> PodStatus:
        pod = self._find(pod_id)
        progress("removing what is left")
        await self._enter("delete_pod", pod_id)
        self.set_pod(None, pod_id)
        self.emit(EventKind.POD_DELETED, pod_id, f"pod {pod_id} is gone")
        return pod

    async def list_pods(self) -> tuple[PodStatus, ...]:
        return tuple(self._pods.values())

    # --- containers

    async def _move_container(
        self, name: str, pod_id: str, container_id: str, state: State | None
    ) -> ContainerStatus:
        await self._enter(name, pod_id, container_id)
        pod = self._find(pod_id)
        old = next(one for one in pod.containers_status if one.id == container_id)
        changed = []
        for one in pod.containers_status:
            if one.id != container_id:
                changed.append(one)
            elif state is not None:
                changed.append(make_container(pod_id, container_id, state))
        self.update(pod_id, containers_status=tuple(changed))
        return old

    async def start_container(self, pod_id: str, container_id: str) -> ContainerStatus:
        return await self._move_container("start_container", pod_id, container_id, State.RUNNING)

    async def stop_container(self, pod_id: str, container_id: str) -> ContainerStatus:
        return await self._move_container("stop_container", pod_id, container_id, State.STOPPED)

    async def delete_container(self, pod_id: str, container_id: str) -> ContainerStatus:
        return await self._move_container("delete_container", pod_id, container_id, None)

    async def kill_container(
        self,
        pod_id: str,
        container_id: str,
        signal: int,
        *,
        all: bool = False,  # noqa: A002 - the API's word
    ) -> None:
        await self._enter("kill_container", pod_id, container_id, signal, all)

    async def enter_container(self, pod_id: str, container_id: str, cmd: Cmd) -> Process:
        await self._enter("enter_container", pod_id, container_id, cmd.args)
        process = Process(token=f"token-{next(self._tokens)}", pid=4001, start_time=BORN)
        record = ExecRecord(container_id=container_id, cmd=cmd, process=process)
        self._execs.setdefault(pod_id, []).append(record)
        return process

    async def process_list_container(
        self, pod_id: str, container_id: str, options: ProcessListOptions
    ) -> bytes:
        await self._enter("process_list_container", pod_id, container_id, change=False)
        return self.processes

    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        return tuple(self._execs.get(pod_id, ()))

    # --- streams

    async def attach(
        self,
        pod_id: str,
        container_id: str,
        token: str = "",
        *,
        replay: int = 0,
        rows: int = 0,
        columns: int = 0,
    ) -> Attachment:
        await self._enter("attach", pod_id, container_id, token)
        self.terminals.append(FakeAttachment(b"/ # "))
        return self.terminals[-1]

    async def console(self, pod_id: str, *, replay: int = 0) -> Attachment:
        await self._enter("console", pod_id)
        greeting = f"[    0.412] {pod_id}: agent ready\r\n"
        self.consoles.append(FakeAttachment(greeting.encode()))
        return self.consoles[-1]

    async def logs(
        self,
        pod_id: str,
        source: LogSource,
        container_id: str = "",
        *,
        follow: bool = False,
        since: datetime | None = None,
        tail: int | None = None,
        live: bool = False,
    ) -> AsyncIterator[LogLine]:
        self.calls.append(("logs", pod_id, source, container_id))
        for line in self.log_lines:
            yield line
        yield LogLine(text=f"{source} log of {pod_id}/{container_id}".encode(), time=BORN)
        if follow:
            await asyncio.Event().wait()

    # --- watching

    async def events(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        for event in self._events[after:]:
            yield event

    def recent_events(self, *, limit: int = 200, pod_id: str = "") -> tuple[Event, ...]:
        return tuple(self._events[-limit:])

    async def changes(self) -> AsyncIterator[None]:
        while True:
            self._changed.clear()
            yield
            await self._changed.wait()

    def accelerator(self) -> str:
        return "tcg"

    async def doctor(self) -> tuple[Check, ...]:
        return self.checks
