"""Pods whose agent is reached by vsock: served by the host's kernel where that can, else by us, on
a real guest in either case."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import PATIENCE, Host, wait_until

pytestmark = pytest.mark.vm

MEMORY_LIMIT = 24 << 20
"""Bytes of resident memory of the program that serves the device."""
TICKS = "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.2; done"


@pytest.fixture(scope="module")
def checked(host: Host) -> dict[str, Any]:
    """What `guest check` says of a guest on vsock, which boots while pod `first` does."""
    add(host, "near", "--socket", "vsock", "--protocol", "ttrpc")
    checking = host.start("guest", "check", "near", "--json")
    try:
        containers = (("clock", TICKS), ("idle", "sleep 100000"))
        host.do("pod", "run", host.pod("first", *containers, agent_config={"socket_type": "vsock"}))
    finally:
        said, errors = checking.communicate(timeout=PATIENCE * 2)
    assert checking.returncode == 0, errors
    report: dict[str, Any] = json.loads(said)
    return report


@pytest.fixture(scope="module")
def pod(checked: dict[str, Any]) -> str:
    """Our agent with Kata 3.x's protocol, behind the monitor."""
    return "first"


def add(host: Host, name: str, *options: str, parameters: Sequence[str] = ()) -> None:
    """The built guest as one of the operator's own."""
    (guest, *_) = host.ask("guest", "list")
    files = ("--kernel", guest["kernel"], "--initrd", guest["initrd"])
    words = [f"--kernel-param={word}" for word in (*guest["kernel_params"], *parameters)]
    host.do("guest", "add", name, *files, *words, *options)


def program(host: Host, pod: str, module: str) -> psutil.Process:
    (found,) = [
        process
        for one in host.processes(pod)
        if module in (process := psutil.Process(one.pid)).cmdline()
    ]
    return found


def test_a_pod_runs_on_vsock(host: Host, pod: str):
    status = host.status(pod)
    assert [one["state"] for one in status["containers_status"]] == ["running"] * 2
    assert "vsock by " in status["machine"]["boot"]
    done = host.run(
        "container", "exec", pod, "idle", "--", "sh", "-c", "echo out; echo err >&2; exit 3"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    wait_until(lambda: "tick 2" in host.do("logs", pod, "clock"), "ticks in the log")


def test_a_guest_on_vsock_is_checked(host: Host, checked: dict[str, Any]):
    assert (checked["name"], checked["protocol"]) == ("near", "ttrpc")
    assert {"virtio-fs", "9p"} <= set(checked["storage_handlers"])
    assert "vctui.Guest.ListProcesses" in checked["features"]
    assert [one["id"] for one in host.ask("pod", "list")] == ["first"]  # that of the check is gone


def test_much_passes_both_ways_whole(host: Host, pod: str):
    said = host.do("container", "exec", pod, "idle", "--", "seq", "1", "100000")
    assert said == "".join(f"{number}\n" for number in range(1, 100001))
    typed = os.urandom(500_000).hex()
    digest = host.do("container", "exec", "-i", pod, "idle", "--", "sha256sum", stdin=typed)
    assert digest.split()[0] == sha256(typed.encode()).hexdigest()


def test_pausing_keeps_the_connection(host: Host, pod: str):
    host.do("pod", "pause", pod)
    host.do("pod", "resume", pod)
    assert host.do("container", "exec", pod, "idle", "--", "echo", "on") == "on\n"


def test_a_killed_monitor_is_replaced_and_finds_the_agent_again(host: Host, pod: str):
    monitor = program(host, pod, "vctui.companions.monitor")
    monitor.send_signal(signal.SIGKILL)
    assert host.do("container", "exec", pod, "idle", "--", "echo", "again") == "again\n"
    assert program(host, pod, "vctui.companions.monitor").pid != monitor.pid


def test_a_pod_whose_vsock_program_is_killed_says_so_and_leaves_nothing(host: Host, pod: str):
    if "by the host's kernel" in host.status(pod)["machine"]["boot"]:
        pytest.skip("this host's kernel serves the device")
    served = program(host, pod, "vctui.companions.vsock")
    assert served.memory_info().rss < MEMORY_LIMIT
    served.send_signal(signal.SIGKILL)
    error = host.refuse("container", "exec", pod, "idle", "--", "true")
    assert "restart the pod" in error["message"]
    host.do("pod", "delete", pod)
    assert host.left_over() == []


def test_a_guest_is_added_for_vsock_and_talked_to_without_a_proxy(host: Host):
    """Kata 1.x, gRPC without yamux, found out by asking; the built-in shim is a client, too."""
    todays = ("--socket", "hybrid-vsock", "--shared-fs", "virtio-fs")
    add(host, "far", *todays, parameters=("vctui.protocol=grpc",))
    file = host.pod("second", ("idle", "sleep 1000"), guest="far", proxy_type="noProxy")
    host.do("pod", "run", file)
    done = host.run("container", "exec", "second", "idle", "--", "sh", "-c", "echo out; exit 4")
    assert (done.returncode, done.stdout) == (4, "out\n")
    host.do("pod", "delete", "second")
    assert host.left_over() == []
