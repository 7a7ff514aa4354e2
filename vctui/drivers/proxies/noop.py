"""No proxy: for an agent that nobody talks to."""

from __future__ import annotations

from pathlib import Path

from vctui.drivers.proxies.base import Proxy, ProxyHandle


class NoopProxy(Proxy):
    async def start(self, *, pod_id: str, run_dir: Path) -> ProxyHandle:
        return ProxyHandle(pid=0, pid_started=0.0, url="")

    def url(self, run_dir: Path) -> str:
        return ""

    async def wait_agent(self, run_dir: Path, *, timeout: float) -> str:
        """Nobody has to answer."""
        return ""

    async def stop(self, run_dir: Path, *, pid: int, pid_started: float, timeout: float) -> None:
        """Nothing runs."""

    def alive(self, pid: int, pid_started: float) -> bool:
        """What needs no process is never dead."""
        return True
