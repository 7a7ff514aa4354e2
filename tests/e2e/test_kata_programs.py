"""A real guest behind kata-proxy and kata-shim: programs that follow the tables, as the real ones
are not to be had everywhere."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Host, wait_until
from tests.fakes.programs import executable
from vctui.linux import process

pytestmark = pytest.mark.vm

POD = "kata"
SCRIPT = "trap 'echo caught; exit 5' USR1; echo ready; while :; do echo again; sleep 0.1; done"


@pytest.fixture(scope="module")
def pod(host: Host) -> str:
    keys = {
        "proxy_type": "kataProxy",
        "proxy_config": {"path": str(executable(host.root, "kata_proxy")), "debug": True},
        "shim_type": "kataShim",
        "shim_config": {"path": str(executable(host.root, "kata_shim")), "debug": True},
    }
    host.do("pod", "run", host.pod(POD, ("main", SCRIPT), ("other", SCRIPT), **keys))
    return POD


def program(host: Host, name: str, *arguments: str) -> process.Spawned:
    (found,) = process.find_by_argument(host.root / name, beside=arguments)
    return found


def test_status_names_them_and_each_process_has_one(host: Host, pod: str):
    status = host.status(pod)
    assert (status["proxy"], status["shim"]) == ("kataProxy", "kataShim")
    assert status["shim_config"]["path"] == str(host.root / "kata-shim")
    pids = {one["id"]: one["pid"] for one in status["containers_status"]}
    for name, pid in pids.items():
        assert program(host, "kata-shim", "-exec-id", name, "-log", "debug").pid == pid
    arguments = ("-mux-socket", str(host.root / "run" / "pods" / pod / "agent.sock"))
    assert program(host, "kata-proxy", *arguments, "-log", "debug").pid not in pids.values()


def test_the_proxy_reads_the_guests_console(host: Host, pod: str):
    assert "source=agent" in (host.root / "run" / "pods" / pod / "proxy.log").read_text()


def test_commands_have_their_streams_and_their_status(host: Host, pod: str):
    done = host.run(
        *("container", "exec", "-i", pod, "main", "--"),
        *("sh", "-c", "cat; echo no >&2; exit 7"),
        stdin="something\n",
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "something\n", "no\n")
    assert "ready" in host.do("logs", pod, "main")


def test_a_signal_to_the_shim_reaches_the_process(host: Host, pod: str):
    os.kill(host.container(pod, "other")["pid"], signal.SIGUSR1)
    wait_until(lambda: host.container(pod, "other")["state"] == "stopped", "its end")
    assert host.container(pod, "other")["exit_code"] == 5


def test_a_proxy_that_dies_is_reported_and_replaced(host: Host, pod: str):
    """Its kata-shims lose their way to the agent with it; others follow, and all goes on."""
    shim = host.container(pod, "main")["pid"]
    first = program(host, "kata-proxy", "-mux-socket")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(
        lambda: f"kata-proxy (process {first.pid}) was killed by signal 9" in host.do("events"),
        "the event of its end",
    )
    wait_until(lambda: host.container(pod, "main")["pid"] != shim, "the next shim")
    seen = len(host.do("logs", pod, "main"))
    wait_until(lambda: len(host.do("logs", pod, "main")) > seen, "more of its output")
    assert host.do("container", "exec", pod, "main", "--", "echo", "here") == "here\n"
    assert program(host, "kata-proxy", "-mux-socket") != first
    os.kill(host.container(pod, "main")["pid"], signal.SIGUSR1)
    wait_until(lambda: host.container(pod, "main")["state"] == "stopped", "its end")
    assert host.container(pod, "main")["exit_code"] == 5


def test_nothing_is_left_of_them(host: Host, pod: str):
    host.do("pod", "delete", pod)
    for name in ("kata-proxy", "kata-shim"):
        assert process.find_by_argument(Path(host.root) / name) == []
    assert host.left_over() == []
