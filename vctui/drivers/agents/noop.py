"""An agent that is not there: every request is granted, nothing happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vctui.drivers.agents.base import Agent, AgentInfo, ContainerSpec, ContainerStats, GuestNeeds
from vctui.model.agent import AgentConfig
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.kinds import ProcessListFormat, SharedFs
from vctui.model.network import PodNetwork


class NoopAgent(Agent):
    @staticmethod
    def needs(run_dir: Path, share_dir: Path, config: AgentConfig, *, debug: bool) -> GuestNeeds:
        return GuestNeeds()

    async def connect(self, url: str, *, timeout: float) -> None:
        """Nobody listens, and nobody has to."""

    async def close(self) -> None:
        pass

    async def info(self) -> AgentInfo:
        return AgentInfo(version="noop")

    async def start_sandbox(
        self,
        *,
        pod_id: str,
        hostname: str,
        network: PodNetwork | None = None,
        shared_fs: SharedFs = SharedFs.NINE_P,
        volumes: Sequence[str] = (),
    ) -> None:
        pass

    async def update_network(self, network: PodNetwork) -> None:
        pass

    async def stop_sandbox(self) -> None:
        pass

    async def create_container(self, spec: ContainerSpec) -> None:
        pass

    async def start_container(self, container_id: str) -> None:
        pass

    async def remove_container(self, container_id: str, *, timeout: float) -> None:
        pass

    async def exec(self, container_id: str, token: str, cmd: Cmd) -> None:
        pass

    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        pass

    async def processes(self, container_id: str, options: ProcessListOptions) -> bytes:
        return b"[]" if options.format is ProcessListFormat.JSON else b"PID CMD\n"

    async def read_file(self, container_id: str, path: str) -> bytes:
        return b""

    async def write_file(self, container_id: str, path: str, data: bytes) -> None:
        pass

    async def online(self, *, vcpus: int, plugged: int) -> None:
        """Nobody is there to do it."""

    async def set_clock(self) -> None:
        pass

    async def stats(self, container_ids: Sequence[str]) -> dict[str, ContainerStats]:
        return {}
