"""Ten pods at once, from three shells at a time, in any order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import Host

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.timeout(480)]

PODS = [f"crowd-{number}" for number in range(10)]


def test_ten_pods_run_and_stop_from_three_shells(host: Host):
    files = {pod: host.pod(pod, ("idle", "sleep 100000")) for pod in PODS}
    dice = random.Random(20)

    def in_three_shells(*command: str) -> None:
        order = dice.sample(PODS, len(PODS))
        with ThreadPoolExecutor(3) as shells:
            words = [(*command, files[pod] if command == ("pod", "run") else pod) for pod in order]
            list(shells.map(lambda each: host.do(*each), words))

    in_three_shells("pod", "run")
    assert {one["state"] for one in host.ask("pod", "list")} == {"running"}
    in_three_shells("pod", "stop")
    assert {one["state"] for one in host.ask("pod", "list")} == {"stopped"}
    in_three_shells("pod", "delete")
    assert host.left_over() == []
