"""Whatever is killed: the pod goes on, is stopped with its reason, or is cleaned up."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until

pytestmark = pytest.mark.vm

SLEEPER = ("idle", "sleep 100000")
CLOCK = ("clock", "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.2; done")


def events(host: Host, pod: str) -> list[tuple[str, str]]:
    return [
        (event["kind"], event["message"]) for event in host.ask("events") if event["pod_id"] == pod
    ]


def run(host: Host, pod: str, *containers: tuple[str, str], **keys: Any) -> Any:
    host.do("pod", "run", host.pod(pod, *containers, **keys))
    return host.status(pod)


def test_a_pod_outlives_its_monitor(host: Host):
    status = run(host, "orphan", CLOCK, SLEEPER)
    os.kill(status["monitor_pid"], signal.SIGKILL)
    assert (
        host.do("container", "exec", "orphan", "idle", "--", "echo", "still here") == "still here\n"
    )
    after = host.status("orphan")
    assert after["state"] == "running"
    assert after["machine"] == status["machine"]
    assert after["monitor_pid"] != status["monitor_pid"]
    seen = len(host.do("logs", "orphan", "clock").splitlines())
    wait_until(lambda: len(host.do("logs", "orphan", "clock").splitlines()) > seen, "log lines")
    assert "monitor-adopted" in dict(events(host, "orphan"))
    host.do("container", "kill", "orphan", "idle", "--signal", "KILL")
    wait_until(lambda: host.container("orphan", "idle")["exit_code"] == 137, "the exit status")
    host.do("pod", "delete", "orphan")
    assert host.left_over() == []


def test_a_killed_machine_stops_its_pod_with_a_reason(host: Host):
    status = run(host, "victim", SLEEPER)
    os.kill(status["machine"]["pid"], signal.SIGKILL)
    wait_until(lambda: host.status("victim")["state"] == "stopped", "the pod's end")
    after = host.status("victim")
    assert "QEMU was killed" in after["reason"]
    assert after["containers_status"][0]["state"] == "stopped"
    assert after["containers_status"][0]["exit_code"] is None
    assert ("machine-died", after["reason"]) in events(host, "victim")
    wait_until(lambda: not host.processes("victim"), "the monitor's end")
    host.do("pod", "start", "victim")
    assert host.status("victim")["reason"] == ""
    host.do("pod", "delete", "victim")


def test_machine_and_monitor_killed_together(host: Host):
    status = run(host, "both", SLEEPER)
    os.kill(status["monitor_pid"], signal.SIGKILL)
    os.kill(status["machine"]["pid"], signal.SIGKILL)
    wait_until(lambda: not host.processes("both"), "their end")
    host.do("pod", "list")
    after = host.status("both")
    assert after["state"] == "stopped"
    assert "no monitor was watching" in after["reason"]
    host.do("pod", "delete", "both")
    assert host.left_over() == []


def test_a_panic_of_the_guest_is_the_reason(host: Host):
    run(host, "panic", SLEEPER, hypervisor_config={"debug": True})
    shell = host.start("console", "panic", stdin=-1)
    assert shell.stdin
    shell.stdin.write("echo c > /proc/sysrq-trigger\n")
    shell.stdin.flush()
    wait_until(lambda: host.status("panic")["state"] == "stopped", "the pod's end")
    assert "panicked" in host.status("panic")["reason"]
    shell.communicate(timeout=20)
    host.do("pod", "delete", "panic")


@pytest.mark.parametrize("moment", ["mounted", "launched", "watched", "answered"])
def test_an_engine_killed_while_it_starts_a_pod_leaves_nothing_to_do_by_hand(
    host: Host, moment: str
):
    pod = f"half-{moment}"
    host.do("pod", "create", host.pod(pod, SLEEPER))
    starting = host.start("pod", "start", pod)
    folder = host.root / "run" / "pods" / pod
    reached = {
        "mounted": folder.is_dir,
        "launched": (folder / "ctl.sock").exists,
        "watched": (folder / "monitor.sock").exists,
        "answered": lambda: (
            "serves" in (folder / "logs/agent.log").read_text()
            if (folder / "logs/agent.log").exists()
            else False
        ),
    }[moment]
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.002)
    starting.kill()
    starting.communicate(timeout=20)
    status = host.status(pod)
    assert status["state"] in {"stopped", "ready", "running"}
    assert status["operation"] == ""
    if status["state"] == "stopped":
        assert "interrupted" in status["reason"]
        assert host.processes(pod) == []
    host.do("pod", "delete", pod)
    assert host.left_over() == []


def test_an_engine_killed_while_it_runs_a_new_pod(host: Host):
    running = host.start("pod", "run", host.pod("newborn", SLEEPER))
    wait_until(lambda: host.processes("newborn"), "QEMU")
    running.kill()
    running.communicate(timeout=20)
    assert host.status("newborn")["operation"] == ""
    assert host.processes("newborn") == []
    host.do("pod", "delete", "newborn")


def test_ctrl_c_undoes_a_start(host: Host):
    running = host.start("pod", "run", host.pod("undone", SLEEPER))
    wait_until(lambda: host.processes("undone"), "QEMU")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert host.refuse("pod", "status", "undone")["kind"] == "not-found"
    assert host.left_over() == []
