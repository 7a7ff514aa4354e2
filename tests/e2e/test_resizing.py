"""Processors and memory that a running machine is given for containers that come later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until

pytestmark = pytest.mark.vm

MIB = 1024 * 1024
LIMITS = {"cpu_quota": 100_000, "memory_limit": 200 * MIB}


def sh(host: Host, name: str, script: str) -> str:
    return host.do("container", "exec", "grow", name, "--", "sh", "-c", script)


def size(host: Host) -> tuple[int, int]:
    machine = host.status("grow")["machine"]
    return machine["vcpus"], machine["memory"]


def guest(host: Host) -> tuple[int, int]:
    """What the guest's kernel has: processors that are on, MiB."""
    script = "grep -c ^processor /proc/cpuinfo; grep MemTotal /proc/meminfo"
    count, _, memory = sh(host, "main", script).partition("\n")
    return int(count), int(memory.split()[1]) // 1024


def test_a_machine_grows_for_a_container_and_outlives_an_engine_that_is_killed(host: Host):
    document: dict[str, Any] = {"vm_config": {"vcpus": 1, "memory": 256}}
    host.do("pod", "run", host.pod("grow", ("main", "sleep 100000"), **document))
    if host.status("grow")["machine"]["max_vcpus"] < 2:
        pytest.skip("needs a host with two processors")
    count, memory = guest(host)
    assert count == 1
    assert memory > 200  # room for more costs nothing
    late = {
        "id": "late",
        "rootfs": "busybox",
        "cmd": {"args": ["sleep", "100000"]},
        "resources": LIMITS,
    }
    host.do("container", "create", "grow", host.file("late.json", json.dumps(late)))
    assert size(host) == (1, 256)

    host.do("container", "start", "grow", "late")
    assert size(host) == (2, 512)  # memory comes in blocks of 128 MiB
    count, more = guest(host)
    assert count == 2
    assert more >= memory + 240
    assert sh(
        host,
        "late",
        "cd /sys/fs/cgroup/$(cut -d : -f 3 /proc/self/cgroup) && cat cpu.max memory.max",
    ) == (f"100000 100000\n{200 * MIB}\n")
    assert "2 virtual CPUs, 512 MiB" in [one["message"] for one in host.ask("events")]

    host.do("container", "stop", "grow", "late")
    # an emulated machine keeps its processors, see Machine.keeps_vcpus
    kept = 2 if host.status("grow")["machine"]["accelerator"] == "tcg" else 1
    assert size(host) == (kept, 512)
    assert guest(host) == (kept, more)
    host.do("container", "start", "grow", "late")
    assert size(host) == (2, 512)
    host.do("container", "stop", "grow", "late")
    host.do("pod", "delete", "grow")


def has_processor(pid: int, number: int) -> bool:
    names = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            names.append((task / "comm").read_text())
        except OSError:
            continue
    return any(name.startswith(f"CPU {number}/") for name in names)


def test_an_engine_killed_while_a_machine_grows_leaves_it_consistent(host: Host):
    document: dict[str, Any] = {"vm_config": {"vcpus": 1, "memory": 256}}
    host.do("pod", "run", host.pod("grow", ("main", "sleep 100000"), **document))
    if host.status("grow")["machine"]["max_vcpus"] < 2:
        pytest.skip("needs a host with two processors")
    late = {
        "id": "late",
        "rootfs": "busybox",
        "cmd": {"args": ["sleep", "100000"]},
        "resources": LIMITS,
    }
    host.do("container", "create", "grow", host.file("late.json", json.dumps(late)))

    pid = host.status("grow")["machine"]["pid"]
    starting = host.start("container", "start", "grow", "late")
    wait_until(lambda: has_processor(pid, 1), "the processor")
    starting.kill()
    starting.communicate(timeout=20)
    assert host.status("grow")["operation"] == ""
    told = host.container("grow", "late")
    assert told["state"] == "stopped"
    assert "its start-container was interrupted" in told["reason"]
    assert size(host) == (2 if has_processor(pid, 1) else 1, 512)
    host.do("container", "start", "grow", "late")
    assert size(host) == (2, 512)
    assert guest(host)[0] == 2
    host.do("pod", "delete", "grow")
