"""Commands that need no guest, timed from outside as whole processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.figures import Figure
from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.kinds import AgentType, HypervisorType
from vctui.model.pod import PodConfig
from vctui.settings import Settings

PROGRAM = str(Path(sys.executable).with_name("vctui"))
PODS = 100


async def figures(settings: Settings, runs: int) -> list[Figure]:
    await fill(settings)
    return [
        Figure(
            name="vctui --help",
            samples=timed([PROGRAM, "--help"], settings, runs * 2),
            unit="s",
            reach=0.15,
        ),
        Figure(
            name=f"vctui pod list, {PODS} mock pods",
            samples=timed([PROGRAM, "pod", "list"], settings, runs * 2),
            unit="s",
            reach=0.2,
        ),
    ]


async def fill(settings: Settings) -> None:
    """Have PODS running mock pods."""
    async with Runtime(settings) as runtime:
        for number in range(PODS):
            await runtime.run_pod(
                PodConfig(
                    id=f"mock-{number:03}",
                    hypervisor_type=HypervisorType.MOCK,
                    agent_type=AgentType.NOOP,
                    containers=(
                        ContainerConfig(id="main", rootfs="busybox", cmd=Cmd(args=("sleep", "1"))),
                    ),
                )
            )


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "VCTUI_RUN_DIR": str(settings.run_dir),
        "VCTUI_STATE_DIR": str(settings.state_dir),
        "VCTUI_CACHE_DIR": str(settings.cache_dir),
    }


def timed(command: Sequence[str], settings: Settings, runs: int) -> list[float]:
    """Seconds of each run after one that is not counted."""
    samples = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run(command, env=environment(settings), stdout=subprocess.DEVNULL, check=True)
        samples.append(time.perf_counter() - begin)
    return samples[1:]
