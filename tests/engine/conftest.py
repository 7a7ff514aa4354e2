from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd, ContainerConfig
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
