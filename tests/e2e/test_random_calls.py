"""Random commands on real machines from several shells, with SIGKILL at random moments: whoever
comes next finds a pod in a state that the API knows, and nothing is left behind at the end."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from tests.e2e.conftest import Host

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SEED = 20
STEPS = 24
ENOUGH = 60.0
"""Seconds after which no further command is begun: an emulated machine boots slowly."""
PODS = ("storm-1", "storm-2")
LIVE = {"running", "paused"}
LATE = {
    "id": "late",
    "rootfs": "busybox",
    "cmd": {"args": ["sleep", "100000"]},
    "resources": {"memory_limit": 64 * 2**20, "cpu_quota": 100_000, "pids_limit": 20},
}
"""It makes the machine larger while it runs."""
REFUSALS = {"not-found", "already-exists", "wrong-state"}


def some_words(host: Host, rng: random.Random) -> tuple[str, ...]:
    pod = rng.choice(PODS)
    there = {one["id"]: one["state"] for one in host.ask("pod", "list")}
    if pod not in there:
        return "pod", "run", host.pod(pod, ("one", "sleep 100000"), ("two", "sleep 100000"))
    if there[pod] not in LIVE:
        return "pod", rng.choice(("start", "start", "start", "delete")), pod
    return rng.choice(
        [
            ("pod", "pause", pod),
            ("pod", "resume", pod),
            ("pod", "resume", pod),
            ("pod", "stop", pod, "--timeout", "0"),
            ("container", "stop", pod, "one", "--timeout", "0"),
            ("container", "start", pod, "one"),
            ("container", "start", pod, "one"),
            ("container", "kill", pod, "two", "--signal", "KILL"),
            ("container", "start", pod, "two"),
            ("container", "exec", pod, "two", "--", "true"),
            ("container", "exec", "-d", pod, "one", "--", "sleep", "1000"),
            ("container", "ps", pod, "two"),
            ("container", "create", pod, host.file("late.json", json.dumps(LATE))),
            ("container", "start", pod, "late"),
            ("container", "start", pod, "late"),
            ("container", "stop", pod, "late", "--timeout", "0"),
            ("container", "delete", pod, "late"),
        ]
    )


def check(host: Host) -> dict[str, Any]:
    pods = {one["id"]: one for one in host.ask("pod", "list")}
    for pod, status in pods.items():
        assert status["operation"] == "", status
        live = status["state"] in LIVE
        assert live == (status["machine"] is not None), status
        for one in status["containers_status"]:
            assert one["state"] not in LIVE or one["state"] == status["state"], status
        running = [found.pid for found in host.processes(pod)]
        if live:
            assert status["machine"]["pid"] in running, status
            assert status["monitor_pid"] in running, status
    for pod in PODS:
        if pod not in pods or pods[pod]["state"] not in LIVE:
            assert host.processes(pod) == [], pod
    return pods


@pytest.mark.timeout(240)
def test_whatever_is_killed_pods_stay_in_order(host: Host):
    rng = random.Random(SEED)
    begun, killed, done = time.monotonic(), 0, []
    while len(done) < STEPS and time.monotonic() - begun < ENOUGH:
        calls = [some_words(host, rng) for _ in range(2)]
        if calls[0] == calls[1]:
            calls.pop()
        started = [host.start(call[0], call[1], "--json", *call[2:]) for call in calls]
        if not killed or rng.random() < 0.5:
            time.sleep(rng.uniform(0.05, 0.5))
            victim = rng.choice(started)
            killed += victim.poll() is None
            victim.kill()
        for call, process in zip(calls, started, strict=True):
            out, _ = process.communicate(timeout=60)
            assert process.returncode in {0, 1, -9}, (SEED, done, call, out)
            if process.returncode == 1:
                assert json.loads(out)["error"]["kind"] in REFUSALS, (SEED, done, call, out)
            done.append(call)
        check(host)
    assert len(done) >= 8, "a step takes too long here to tell anything"
    assert killed, (SEED, done)
    for pod in check(host):
        host.do("pod", "delete", pod)
    deadline = time.monotonic() + 10
    while host.left_over() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert host.left_over() == []
