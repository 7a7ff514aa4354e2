"""The built-in proxy: our monitor, started beside the machine."""

from __future__ import annotations

import os
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

    def launch(self, *, pod_id: str, run_dir: Path) -> None:
        """A monitor loads itself, and looks for its pod when somebody calls it."""
        self._launched = self._spawn(pod_id, run_dir)

    async def start(self, *, pod_id: str, run_dir: Path) -> ProxyHandle:
        spawned, self._launched = self._launched or self._spawn(pod_id, run_dir), None
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

    def _spawn(self, pod_id: str, run_dir: Path) -> process.Spawned:
        """Start the monitor on a socket that listens already, so that nobody has to wait for it
        to appear, and a monitor that dies at once is noticed at once."""
        logs = self._settings.logs
        listening = sockets.listen(run_dir / monitor_client.SOCKET, backlog=128)
        monitor_client.renewed(run_dir)
        log = os.open(
            run_dir / monitor_client.LOG,
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            0o600,
        )
        argv = (
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
            *("--listen-fd", str(listening.fileno())),
        )
        try:
            return process.spawn_detached(
                argv,
                stderr=log,
                env={**os.environ, **_THRIFT},
                pass_fds=(listening.fileno(),),
            )
        except OSError as error:
            raise MonitorError(
                f"the monitor of pod {pod_id!r} cannot be started with {sys.executable}: "
                f"{error.strerror}; see to vctui's installation"
            ) from error
        finally:
            listening.close()
            os.close(log)
