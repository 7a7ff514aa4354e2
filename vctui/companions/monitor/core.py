"""The monitor of one pod, put together: what it watches, whom it serves, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
from msgspec.structs import replace

from vctui.companions.monitor import links, share_watch
from vctui.companions.monitor.agent_log import AgentLog
from vctui.companions.monitor.attachment import Target
from vctui.companions.monitor.capture import Capture
from vctui.companions.monitor.client import Client
from vctui.companions.monitor.console_socket import SOCKET, ConsoleSocket
from vctui.companions.monitor.fanout import Fanout
from vctui.companions.monitor.ledger import Ledger
from vctui.companions.monitor.logfile import LogFile
from vctui.companions.monitor.machine_watch import ConnectQmp, MachineWatch
from vctui.companions.monitor.processes import Processes
from vctui.companions.monitor.service import MonitorService
from vctui.companions.monitor.verdict import Evidence, explain
from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import MonitorError, VctuiError
from vctui.linux import process, sockets
from vctui.model import pairing
from vctui.model.events import EventKind
from vctui.model.hypervisor import Machine
from vctui.model.kinds import AgentProtocol, ShimType, SocketType
from vctui.model.pod import PodConfig
from vctui.model.proxy import ProxyConfig
from vctui.model.state import LIVE
from vctui.store.base import Store
from vctui.wire import ttrpc, vsock
from vctui.wire.monitor import PROXY, Exit, Size, StartShim

if TYPE_CHECKING:
    from vctui.companions.monitor.cc_link import CcLink

_STORE_TRIES: Final = 30
_STORE_RETRY: Final = 2.0
"""Seconds; a full disk may be cleared while we wait."""
_ADOPTION: Final = 10.0
"""Seconds for the agent to answer a new monitor before programs are started that talk to it."""
_SAME_END: Final = 1.0
"""Seconds within which a machine and what serves its folders end together."""
_GOODBYE: Final = 2.0

T = TypeVar("T")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    pod_id: str
    run_dir: Path
    max_log_bytes: int
    replay_bytes: int
    agent_chardev: str
    """QEMU's name for the chardev of the agent's channel."""
    agent_protocol: AgentProtocol = AgentProtocol.TTRPC
    socket_type: SocketType = SocketType.UNIX
    proxy: ProxyConfig = ProxyConfig()
    """An external one, if it names a program."""


class Monitor:
    """Runs until the machine ends or somebody tells it to leave."""

    def __init__(
        self, config: Config, open_store: Callable[[], Store], connect_qmp: ConnectQmp
    ) -> None:
        loop = asyncio.get_running_loop()
        run_dir, logs = config.run_dir, config.run_dir / "logs"
        self._config = config
        self._open_store = open_store
        self._connect_qmp = connect_qmp
        self._ledger: Ledger | None = None
        # one thread, so that entries are made in the order of what they tell
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._notes: set[asyncio.Task[None]] = set()
        self.left = asyncio.Event()
        """Somebody has told it to leave."""
        self._prepared: asyncio.Future[None] = loop.create_future()
        self._machine_ended: asyncio.Future[str] = loop.create_future()

        self._console = _Console(
            run_dir / "serial.sock",
            LogFile(logs / "console.log", config.max_log_bytes, self.warn),
            Fanout(config.replay_bytes),
        )
        self._agent_log = AgentLog(
            run_dir / "agentlog.sock",
            LogFile(logs / "agent.log", config.max_log_bytes, self.warn),
            lambda: self._agent.logs_plainly,
        )
        self._console.listener = self._agent_log.console_says
        self._console_copy = ConsoleSocket(run_dir / SOCKET, self._console.output)
        self._port_is_open: bool | None = None
        self._agent = links.make(
            config.pod_id,
            config.agent_protocol,
            config.proxy,
            run_dir,
            self.warn,
            socket_type=config.socket_type,
        )
        self._processes = Processes(
            stand_in=self._agent.stand_in,
            log_dir=logs / "containers",
            max_log_bytes=config.max_log_bytes,
            replay_bytes=config.replay_bytes,
            on_end=self._process_ended,
            on_renewed=self._process_moved,
            warn=self.warn,
        )
        self._agent.attendants = self._processes
        self._service = MonitorService(
            pod_id=config.pod_id,
            agent=self._agent,
            processes=self._processes,
            console=self._console,
            console_output=self._console.output,
            prepared=self._prepared,
            machine_ended=self._machine_ended,
            channel=self._channel,
            quit=self.leave,
        )

    def leave(self) -> None:
        """Stop watching; the machine goes on."""
        self.left.set()

    def warn(self, message: str) -> None:
        """One WARNING event, as soon as the store takes it."""
        self._note(EventKind.WARNING, message)

    async def run(self, listening: socket.socket) -> None:
        """Serve on `listening`. Raises VctuiError when there is nothing to watch."""
        _recall(
            self._config.run_dir / "logs" / "console.log",
            self._console.output,
            self._config.replay_bytes,
        )
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Client(self._service, self._agent), sock=listening
        )
        try:
            ledger = self._ledger = await self._in_store_thread(
                lambda: Ledger(self._open_store(), self._config.pod_id)
            )
            await self._watch(ledger)
        except VctuiError as error:
            self._refuse_all(error)
            raise
        finally:
            await sockets.stop(server)
            await self._close()

    def _refuse_all(self, error: VctuiError) -> None:
        """Whoever waits for us to begin hears why we do not."""
        if not self._prepared.done():
            self._prepared.set_exception(CallFailed(ttrpc.FAILED_PRECONDITION, str(error)))
            self._prepared.exception()  # it is no loss if nobody waits

    async def _watch(self, ledger: Ledger) -> None:
        record = await self._in_store_thread(ledger.pod)
        if record is None or record.machine is None:
            raise MonitorError(
                f"pod {self._config.pod_id!r} has no virtual machine to watch; start it"
            )
        adopting = record.state in LIVE
        if record.machine.vsock:
            self._agent.reached_at(f"{record.machine.vsock}:{vsock.AGENT_PORT}")
        self._choose_shims(record.config)
        if adopting:  # before they find the way to the agent again
            for started in await self._in_store_thread(ledger.live_processes):
                await self._processes.end_former(started)
        watch = MachineWatch(
            self._config.run_dir,
            record.machine,
            self._connect_qmp,
            port_chardev=self._config.agent_chardev,
            on_port=self._port_changed,
        )
        machine = asyncio.create_task(watch.run())
        if self._config.proxy.debug:  # which reads the agent's log there
            await self._console_copy.open()
        companions = [
            asyncio.create_task(self._console.capture.run()),
            asyncio.create_task(self._agent_log.capture.run()),
            asyncio.create_task(self._agent.run(adopting=adopting)),
        ]
        left = asyncio.create_task(self.left.wait())
        share = asyncio.create_task(
            share_watch.first_end(record.machine.daemons, self._config.run_dir)
        )
        try:
            if adopting:
                await self._adopt(ledger)
            self._prepared.set_result(None)
            await asyncio.wait({machine, left, share}, return_when=asyncio.FIRST_COMPLETED)
            lost = ""
            if share.done():  # it ends with the machine as well
                ends = {machine, left}
                await asyncio.wait(ends, timeout=_SAME_END, return_when=asyncio.FIRST_COMPLETED)
                runs = process.is_alive(record.machine.pid, record.machine.pid_started)
                if runs and not (left.done() or watch.is_ending):
                    lost = share.result()
                    await self._end_machine(record.machine)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if machine.done():
                await self._machine_is_gone(replace(machine.result(), lost=lost))
            else:
                await self._processes.leave_all()
        finally:
            for task in (machine, left, share, *companions):
                task.cancel()
            await asyncio.gather(machine, left, share, *companions, return_exceptions=True)

    def _choose_shims(self, config: PodConfig) -> None:
        kind = pairing.shim_type(config)
        if kind is ShimType.KATA:
            from vctui.companions.monitor.kata_shim import KataShim

            socket = self._config.run_dir / PROXY
            self._processes.leave_to(KataShim(config.shim_config, socket, self._agent))
        elif kind is ShimType.CC:
            from vctui.companions.monitor.cc_shim import CcShim

            self._processes.leave_to(CcShim(config.shim_config, cast("CcLink", self._agent)))

    async def _adopt(self, ledger: Ledger) -> None:
        """Stand for what ran under a monitor that is no more."""
        if self._processes.has_programs:  # which want to talk to the agent at once
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ADOPTION):
                    await self._agent.ready()
        for started in await self._in_store_thread(ledger.live_processes):
            try:
                pid = await self._processes.adopt(started)
            except CallFailed as error:
                self.warn(error.message)
                await self._process_ended(started, Exit(None, error.message))
                continue
            await self._process_moved(started, pid)
        self._note(EventKind.MONITOR_ADOPTED, "a new monitor watches the running machine")

    async def _end_machine(self, machine: Machine) -> None:
        try:
            await process.terminate(machine.pid, machine.pid_started, timeout=_GOODBYE)
        except TimeoutError:
            self.warn(f"QEMU (process {machine.pid}) does not end, not even by SIGKILL")

    async def _machine_is_gone(self, evidence: Evidence) -> None:
        """Record it, answer everybody who waits, and clean up below the share."""
        self._agent.machine_is_gone = True
        reason = explain(replace(evidence, console=self._console.recent()))
        await self._in_store(lambda ledger: ledger.machine_ended(reason))
        self._machine_ended.set_result(reason)
        await self._processes.end_all(Exit(None, reason))
        self._console.output.finish()
        from vctui.linux import mounts  # 0.3 MB that only the end needs

        with contextlib.suppress(OSError):  # not root: nothing was mounted
            await asyncio.to_thread(mounts.unmount_below, self._config.run_dir / "share")
            await asyncio.to_thread(mounts.unmount, self._config.run_dir / "share")

    async def _close(self) -> None:
        for task in tuple(self._notes):
            await asyncio.wait({task}, timeout=_STORE_RETRY)
        await asyncio.gather(*(client.close() for client in tuple(self._service.clients)))
        await self._agent.close()
        await self._console_copy.close()
        self._console.close()
        self._agent_log.close()
        if self._ledger is not None:
            with contextlib.suppress(VctuiError):
                await self._in_store_thread(self._ledger.close)
        self._store_thread.shutdown(wait=False, cancel_futures=True)
        (self._config.run_dir / "monitor.sock").unlink(missing_ok=True)

    async def _process_ended(self, which: StartShim, how: Exit) -> None:
        await self._in_store(lambda ledger: ledger.process_ended(which, how))

    async def _process_moved(self, which: StartShim, pid: int) -> None:
        await self._in_store(lambda ledger: ledger.stood_for(which, pid))

    def _channel(self) -> str:
        port = self._config.agent_chardev
        if self._config.socket_type.is_vsock:
            return (
                f"nobody who speaks {_words(self._config.agent_protocol)} listens on vsock port "
                f"{vsock.AGENT_PORT} of its guest; look at its console, and see that the guest's "
                "agent is one for vsock"
            )
        if self._port_is_open is None:
            return (
                f"its guest has not opened the port {port}; look at its console, and see that "
                "agent_type fits what is in the guest"
            )
        if not self._port_is_open:
            return f"its guest has closed the port {port} again; look at its console"
        return (
            f"its guest has opened the port {port}, but nobody speaks "
            f"{_words(self._config.agent_protocol)} there; look at its console, and see that "
            "agent_config.protocol fits the agent"
        )

    def _port_changed(self, is_open: bool) -> None:
        if self._config.socket_type.is_vsock:
            return
        if is_open or self._port_is_open:
            self._port_is_open = is_open
        if is_open:
            self._agent.port_opened()
        else:
            self._agent.port_closed()

    def _note(self, kind: EventKind, message: str) -> None:
        work: Coroutine[Any, Any, None] = self._in_store(lambda ledger: ledger.note(kind, message))
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _in_store(self, entry: Callable[[Ledger], object]) -> None:
        """Make an entry; try for a minute where the store refuses, then go on without it."""
        for attempt in range(_STORE_TRIES):
            if attempt:
                await asyncio.sleep(_STORE_RETRY)
            if self._ledger is None:
                continue
            with contextlib.suppress(VctuiError):
                await self._in_store_thread(functools.partial(entry, self._ledger))
                return

    async def _in_store_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._store_thread, work)


def _words(spoken: AgentProtocol) -> str:
    return "grpc or ttrpc" if spoken is AgentProtocol.AUTO else spoken


def _recall(log: Path, output: Fanout, replay_bytes: int) -> None:
    """What was said before us, to a monitor that died or in a template, comes first."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - replay_bytes))
        if said := file.read(replay_bytes):
            output.publish(1, said)


def _nobody(_data: bytes) -> None:
    pass


class _Console(Target):
    """The guest's serial console: kept, logged, and typed at."""

    def __init__(self, path: Path, log: LogFile, output: Fanout) -> None:
        self.capture = Capture(path, self._take)
        self.output = output
        self.listener: Callable[[bytes], None] = _nobody
        self._log = log

    def recent(self) -> bytes:
        return self.output.recent()

    async def write(self, data: bytes) -> None:
        await self.capture.write(data)

    async def resize(self, size: Size) -> None:
        """A serial line has no size."""

    async def close_stdin(self) -> None:
        """A serial line has no end."""

    def close(self) -> None:
        self.output.finish()
        self._log.close()

    def _take(self, data: bytes) -> None:
        self._log.write(data)
        self.output.publish(1, data)
        self.listener(data)
