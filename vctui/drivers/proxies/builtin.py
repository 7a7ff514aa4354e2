"""The built-in proxy: our monitor, started beside the machine."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Final

from vctui.drivers import monitor_client
from vctui.drivers.proxies.base import Proxy, ProxyHandle
from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import AgentUnreachable, MachineDied, MonitorError
from vctui.linux import process, sockets
from vctui.model.kinds import AgentProtocol, SocketType
from vctui.model.proxy import ProxyConfig
from vctui.settings import Settings
from vctui.wire import monitor, ttrpc

_SLACK: Final = 5.0
"""Seconds that the monitor may take to tell that the agent's time is over."""

_THRIFT: Final = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""glibc's allocator gives large buffers back at once instead of keeping them (mallopt(3))."""


class BuiltinProxy(Proxy):
    """
    Args:
        program: where that names one, the monitor leaves the agent's channel to it.
    """

    def __init__(
        self,
        settings: Settings,
        protocol: AgentProtocol = AgentProtocol.TTRPC,
        program: ProxyConfig = ProxyConfig(),  # noqa: B008 - frozen
        socket_type: SocketType = SocketType.UNIX,
    ) -> None:
        self._settings = settings
        self._socket_type = socket_type
        self._protocol = protocol
        self._program = program
        self._launched: process.Spawned | None = None

    def load(self, *, pod_id: str, run_dir: Path) -> None:
        with contextlib.suppress(OSError):  # `launch` says so
            _ahead[run_dir] = _Loading(self._argv(pod_id, run_dir))

    def unload(self, run_dir: Path) -> None:
        if (loading := _ahead.pop(run_dir, None)) is not None:
            loading.end()

    def launch(self, *, pod_id: str, run_dir: Path) -> None:
        """A monitor loads itself, and looks for its pod when somebody calls it."""
        self._launched = self._begin(pod_id, run_dir)

    async def start(self, *, pod_id: str, run_dir: Path) -> ProxyHandle:
        spawned, self._launched = self._launched or self._begin(pod_id, run_dir), None
        try:
            async with monitor_client.connected(run_dir) as session:
                await monitor_client.call(
                    session,
                    run_dir,
                    "Hello",
                    None,
                    monitor.Hello,
                    timeout=self._settings.timeouts.monitor,
                )
        except BaseException as error:
            await process.terminate(spawned.pid, spawned.started, timeout=0)
            if isinstance(error, CallFailed):
                raise monitor_client.refused(run_dir, error) from error
            raise
        return ProxyHandle(pid=spawned.pid, pid_started=spawned.started, url=self.url(run_dir))

    def url(self, run_dir: Path) -> str:
        return f"unix://{run_dir / monitor_client.SOCKET}"

    async def wait_agent(self, run_dir: Path, *, timeout: float) -> str:
        async with monitor_client.connected(run_dir) as session:
            try:
                hello = await monitor_client.call(
                    session,
                    run_dir,
                    "AwaitAgent",
                    monitor.AwaitAgent(timeout=timeout),
                    monitor.Hello,
                    timeout=timeout + _SLACK,
                )
            except CallFailed as error:
                if error.code == ttrpc.UNAVAILABLE:
                    raise MachineDied(
                        f"the virtual machine of pod {run_dir.name!r} ended before its agent "
                        f"answered: {error.message}"
                    ) from error
                if error.code == ttrpc.FAILED_PRECONDITION:
                    raise AgentUnreachable(
                        f"the agent in pod {run_dir.name!r} is out of reach: {error.message}",
                        code=error.code,
                    ) from error
                if error.code == ttrpc.DEADLINE_EXCEEDED:
                    raise AgentUnreachable(
                        f"the agent in pod {run_dir.name!r} did not answer within {timeout:g} s: "
                        f"{error.message}, or raise timeouts.start",
                        code=error.code,
                    ) from error
                raise monitor_client.refused(run_dir, error) from error
        return self._address(run_dir, hello)

    def _address(self, run_dir: Path, hello: monitor.Hello) -> str:
        """Where an agent that answers is talked to."""
        if hello.protocol == monitor.GRPC:
            return f"grpc+unix://{run_dir / monitor.PROXY}"
        return self.url(run_dir)

    async def stop(self, run_dir: Path, *, pid: int, pid_started: float, timeout: float) -> None:
        try:
            await process.terminate(pid, pid_started, timeout=timeout)
        except TimeoutError as error:
            raise MonitorError(
                f"the monitor of pod {run_dir.name!r} (process {pid}) does not go away; "
                "it hangs in the kernel, see what its disk does"
            ) from error

    def alive(self, pid: int, pid_started: float) -> bool:
        return process.is_alive(pid, pid_started)

    def _begin(self, pod_id: str, run_dir: Path) -> process.Spawned:
        """Give a monitor its pod, with a socket that listens already, so that nobody has to wait
        for it to appear, and a monitor that dies at once is noticed at once."""
        argv = self._argv(pod_id, run_dir)
        listening = sockets.listen(run_dir / monitor_client.SOCKET, backlog=128)
        monitor_client.renewed(run_dir)
        log = os.open(
            run_dir / monitor_client.LOG,
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            0o600,
        )
        try:
            loaded = _ahead.pop(run_dir, None)
            if loaded is not None and loaded.argv == argv and loaded.begin(listening, log):
                return loaded.spawned
            if loaded is not None:
                loaded.end()
            fresh = _Loading(argv, errors=log)
            fresh.begin(listening, log)
            return fresh.spawned
        except OSError as error:
            raise MonitorError(
                f"the monitor of pod {pod_id!r} cannot be started with {sys.executable}: "
                f"{error.strerror}; see to vctui's installation"
            ) from error
        finally:
            listening.close()
            os.close(log)

    def _argv(self, pod_id: str, run_dir: Path) -> tuple[str, ...]:
        logs = self._settings.logs
        return (
            *(sys.executable, "-P", "-m", "vctui.companions.monitor"),
            *("--pod-id", pod_id),
            *("--run-dir", str(run_dir)),
            *("--state-dir", str(self._settings.state_dir)),
            *("--max-log-bytes", str(logs.max_bytes)),
            *("--replay-bytes", str(logs.replay_bytes)),
            *("--agent-protocol", self._protocol),
            *("--agent-socket", self._socket_type),
            *("--proxy-program", self._program.path),
            *("--proxy-debug", str(self._program.debug).lower()),
        )


class _Loading:
    """A monitor that loads itself and is nobody's until it is given its pod.

    It ends by itself where whoever has started it does; nobody finds it by its arguments here.

    Raises OSError: it cannot be started.
    """

    def __init__(self, argv: tuple[str, ...], *, errors: int | None = None) -> None:
        self.argv = argv
        self._channel, theirs = socket.socketpair()
        try:
            self.spawned = process.spawn_detached(
                (*argv, "--given-fd", str(theirs.fileno())),
                stderr=errors,
                env={**os.environ, **_THRIFT},
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        process.waiting.add(self.spawned)

    def begin(self, listening: socket.socket, log: int) -> bool:
        """Whether it is there to take what it is given."""
        process.waiting.discard(self.spawned)
        with self._channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._channel, [b"."], [listening.fileno(), log])
            return True
        return False

    def end(self) -> None:
        """Idempotent."""
        process.waiting.discard(self.spawned)
        self._channel.close()
        process.kill(self.spawned)


_ahead: Final[dict[Path, _Loading]] = {}
"""Monitors that load themselves before there is anything of their pods, by the pods' folders."""
