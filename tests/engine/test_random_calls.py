"""Random calls of the API, thousands of them: each comes to what it must, whoever else calls and
whoever is killed meanwhile (mock and noop). A failure names its seed."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.reference import Pod, expect, make, some_call
from vctui.engine.runtime import Runtime
from vctui.errors import VctuiError
from vctui.model.pod import PodStatus
from vctui.settings import Settings

ROOT = Path(__file__).parents[2]
STEPS = 600


def seen(status: PodStatus) -> tuple[str, dict[str, str], dict[str, str]]:
    containers = {one.id: str(one.state) for one in status.containers_status}
    return str(status.state), containers, status.annotations


def wanted(it: Pod) -> tuple[str, dict[str, str], dict[str, str]]:
    return it.state, it.containers, it.annotations


@pytest.mark.parametrize("seed", range(4))
async def test_every_call_does_what_the_state_machine_says(runtime: Runtime, seed: int):
    rng = random.Random(seed)
    pods: dict[str, Pod] = {}
    for step in range(STEPS):
        call = some_call(rng)
        error = expect(pods, call)
        raised = None
        try:
            await make(runtime, call)
        except VctuiError as problem:
            raised = type(problem)
        where = f"seed {seed}, step {step}: {call}"
        assert raised is error, where
        statuses = await runtime.list_pods()
        assert [one.id for one in statuses] == list(pods), where
        assert {one.id: seen(one) for one in statuses} == {
            name: wanted(it) for name, it in pods.items()
        }, where
        assert not any(one.operation for one in statuses), where
        for one in statuses:
            assert (one.machine is not None) == (one.state in {"running", "paused"}), where


async def test_nothing_is_left_of_pods_that_are_deleted(runtime: Runtime, settings: Settings):
    rng = random.Random(99)
    pods: dict[str, Pod] = {}
    for _ in range(STEPS // 4):
        call = some_call(rng)
        if expect(pods, call) is None:
            await make(runtime, call)
    for name in list(pods):
        await runtime.delete_pod(name)
    left = [path for path in settings.run_dir.rglob("*") if path.name != "locks"]
    assert [path for path in left if path.name != "pods"] == []
    assert list(settings.state_dir.glob("rootfs/*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whoever_is_killed_the_next_finds_everything_in_order(tmp_path: Path, seed: int):
    storm = subprocess.run(
        [sys.executable, "-m", "tests.engine.storm", str(seed), "12", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert storm.returncode == 0, storm.stdout + storm.stderr
    calls, _, killed = re.findall(r"\w+", storm.stdout)[:3]
    assert int(calls) > 100
    assert int(killed) > 3
