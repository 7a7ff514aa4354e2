"""Proxy: what shares the agent's one channel among many host clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import msgspec


class ProxyHandle(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    """0 where no process stands for the proxy."""
    pid_started: float
    url: str


class Proxy(ABC):
    def launch(self, *, pod_id: str, run_dir: Path) -> None:  # noqa: B027 - most have nothing to do
        """Begin with what `start` would wait for and needs no machine. Raises MonitorError.

        Whoever gives up before `start` ends what has `run_dir` among its arguments.
        """

    @abstractmethod
    async def start(self, *, pod_id: str, run_dir: Path) -> ProxyHandle:
        """Start the proxy beside a machine that was launched; its URL accepts connections
        on return. Raises MonitorError."""

    @abstractmethod
    def url(self, run_dir: Path) -> str:
        """Where a started proxy is reached; "" for none."""

    @abstractmethod
    async def wait_agent(self, run_dir: Path, *, timeout: float) -> str:
        """Return when the agent answers, with the address for `Agent.connect`: where the proxy
        is reached, and how the agent speaks there. `unix://PATH` is ttrpc (or the proxy's own
        protocol), `grpc+unix://PATH` is gRPC; `vsock://CID:PORT` and `hvsock://PATH:PORT` are
        the agent itself, which speaks ttrpc.

        Raises:
            AgentUnreachable: it did not within `timeout` seconds.
            MachineDied: the machine ended meanwhile.
        """

    @abstractmethod
    async def stop(self, run_dir: Path, *, pid: int, pid_started: float, timeout: float) -> None:
        """Idempotent."""

    @abstractmethod
    def alive(self, pid: int, pid_started: float) -> bool: ...
