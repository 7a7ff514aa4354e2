from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vctui import errors
from vctui.drivers.agents.noop import NoopAgent
from vctui.drivers.shims.base import Attachment, Output
from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd, ContainerConfig, Process, ProcessListOptions
from vctui.model.kinds import AgentType, HypervisorType
from vctui.model.pod import PodConfig
from vctui.settings import Paths, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        paths=Paths(
            run_dir=str(tmp_path / "run"),
            state_dir=str(tmp_path / "state"),
            cache_dir=str(tmp_path / "cache"),
        )
    )


@pytest.fixture
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    async with Runtime(settings) as opened:
        yield opened


def container(name: str = "main", *args: str) -> ContainerConfig:
    return ContainerConfig(id=name, rootfs="busybox", cmd=Cmd(args=args or ("sleep", "1000")))


def pod(name: str = "web", *containers: ContainerConfig) -> PodConfig:
    return PodConfig(
        id=name,
        hypervisor_type=HypervisorType.MOCK,
        agent_type=AgentType.NOOP,
        containers=containers or (container(),),
    )


class Shell(Attachment):
    """A process that says what it is to say once its input has ended."""

    def __init__(self, said: list[Output], status: int | None, *, stuck: bool = False) -> None:
        self.said, self.status, self.stuck = said, status, stuck
        self.got = bytearray()
        self.fed, self.ended, self.left = asyncio.Event(), asyncio.Event(), False

    async def __aiter__(self) -> AsyncIterator[Output]:
        await self.ended.wait()
        for one in self.said:
            yield one
        self.exit_code, self.reason = self.status, "the machine went away"

    async def write(self, data: bytes) -> None:
        self.got += data
        self.fed.set()

    async def resize(self, rows: int, columns: int) -> None:
        raise NotImplementedError

    async def close_stdin(self) -> None:
        if not self.stuck:
            self.ended.set()

    async def detach(self) -> None:
        self.left = True


class Mute(NoopAgent):
    """It has neither commands for files nor a list of processes."""

    refusal = errors.AgentError("the agent refused readfile: it gives no reason")
    killed: list[str]

    async def read_file(self, container_id: str, path: str) -> bytes:
        raise self.refusal

    async def write_file(self, container_id: str, path: str, data: bytes) -> None:
        raise errors.AgentUnsupported("no")

    async def processes(self, container_id: str, options: ProcessListOptions) -> bytes:
        raise errors.AgentUnsupported("no")

    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        self.killed.append(token)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    killed: list[str] = []
    monkeypatch.setattr(Mute, "killed", killed, raising=False)
    monkeypatch.setattr("vctui.engine.registry.agent", lambda *_: Mute())
    return killed


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, killed: list[str]) -> Any:
    def install(said: list[Output], status: int | None, *, stuck: bool = False) -> Shell:
        made = Shell(said, status, stuck=stuck)

        async def enter(*_: object) -> Process:
            return Process(token="t1", pid=1, start_time=datetime.now(UTC))

        async def attach(*_: object) -> Attachment:
            return made

        monkeypatch.setattr("vctui.engine.container.enter", enter)
        monkeypatch.setattr("vctui.engine.streams.attach", attach)
        return made

    return install


def out(data: bytes) -> Output:
    return Output(stream=1, data=data)


def err(data: bytes) -> Output:
    return Output(stream=2, data=data)
