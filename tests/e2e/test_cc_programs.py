"""A real guest that shows the face of Clear Containers' agent, behind our own cc-proxy, and behind
programs that follow the tables of cc-proxy and cc-shim."""

from __future__ import annotations

import json
import os
import shutil
import signal

import psutil
import pytest

from tests.e2e.conftest import Host, wait_until
from tests.fakes.programs import executable
from vctui.linux import process

pytestmark = pytest.mark.vm

OWN, THEIRS = "own", "theirs"
SCRIPT = "trap 'echo caught; exit 5' USR1; echo begun; while :; do sleep 0.1; done"


def program(host: Host, name: str, *arguments: str) -> process.Spawned:
    (found,) = process.find_by_argument(host.root / name, beside=arguments)
    return found


@pytest.fixture(scope="module")
def own(host: Host) -> str:
    """Without a program of others."""
    keys = {"agent_type": "hyperstart", "proxy_type": "ccProxy"}
    host.do("pod", "run", host.pod(OWN, ("main", SCRIPT), **keys))
    return OWN


@pytest.fixture(scope="module")
def theirs(host: Host) -> str:
    keys = {
        "agent_type": "hyperstart",
        "proxy_type": "ccProxy",
        "proxy_config": {"path": str(executable(host.root, "cc_proxy")), "debug": True},
        "shim_type": "ccShim",
        "shim_config": {"path": str(executable(host.root, "cc_shim")), "debug": True},
    }
    host.do("pod", "run", host.pod(THEIRS, ("main", SCRIPT), ("other", SCRIPT), **keys))
    return THEIRS


def check_exec(host: Host, pod: str) -> None:
    words = ("container", "exec", "-i", pod, "main", "--user", "nobody", "--")
    done = host.run(*words, "sh", "-c", "id -un; cat; echo no >&2; exit 7", stdin="typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "nobody\ntyped\n", "no\n")
    much = host.do("container", "exec", pod, "main", "--", "seq", "1", "20000")
    assert much == "".join(f"{number}\n" for number in range(1, 20001))
    wait_until(lambda: "begun" in host.do("logs", pod, "main"), "the log")


def test_our_own_proxy_needs_no_program_and_outlives_the_monitor(host: Host, own: str):
    status = host.status(own)
    assert (status["proxy"], status["shim"]) == ("ccProxy", "kataBuiltInShim")
    check_exec(host, own)
    assert "begun" in host.do("container", "ps", own, "main")
    (monitor,) = (
        found
        for one in host.processes(own)
        if "vctui.companions.monitor" in (found := psutil.Process(one.pid)).cmdline()
    )
    monitor.send_signal(signal.SIGKILL)
    assert host.do("container", "exec", own, "main", "--", "echo", "again") == "again\n"
    host.do("container", "kill", own, "main", "--signal", "USR1")
    wait_until(lambda: host.container(own, "main")["state"] == "stopped", "its end")
    assert host.container(own, "main")["exit_code"] == 5
    host.do("container", "start", own, "main")
    refused = host.run("container", "exec", own, "main", "--", "/nowhere")
    assert (refused.returncode, "'/nowhere' was not found" in refused.stderr) == (127, True)
    limited = {"id": "more", "rootfs": "busybox", "resources": {"cpu_quota": 200_000}}
    sleeper = json.dumps({**limited, "cmd": {"args": ["sleep", "100000"]}})
    host.do("container", "create", own, host.file("more.json", sleeper))
    host.do("container", "start", own, "more")
    online = ("container", "exec", own, "more", "--", "cat", "/sys/devices/system/cpu/online")
    wait_until(lambda: host.do(*online) == "0-1\n", "the agent's use of the second processor")
    host.do("pod", "stop", own)
    host.do("pod", "delete", own)
    assert host.processes(own) == []


def test_each_process_has_a_cc_shim(host: Host, theirs: str):
    status = host.status(theirs)
    assert (status["proxy"], status["shim"]) == ("ccProxy", "ccShim")
    for one in status["containers_status"]:
        assert program(host, "cc-shim", "-c", one["id"], "-d").pid == one["pid"]
    check_exec(host, theirs)


def test_a_signal_to_the_shim_reaches_the_process(host: Host, theirs: str):
    os.kill(host.container(theirs, "other")["pid"], signal.SIGUSR1)
    wait_until(lambda: host.container(theirs, "other")["state"] == "stopped", "its end")
    assert host.container(theirs, "other")["exit_code"] == 5
    host.do("container", "start", theirs, "other")  # with a token of its own


def test_a_killed_monitor_costs_the_processes_and_says_so(host: Host, theirs: str):
    (monitor,) = (
        found
        for one in host.processes(theirs)
        if "vctui.companions.monitor" in (found := psutil.Process(one.pid)).cmdline()
    )
    monitor.send_signal(signal.SIGKILL)
    wait_until(lambda: host.container(theirs, "other")["state"] == "stopped", "its end")
    assert "one shim only" in host.container(theirs, "other")["reason"]
    host.do("container", "start", theirs, "other")
    assert host.do("container", "exec", theirs, "other", "--", "echo", "on") == "on\n"


def test_a_proxy_that_dies_is_reported_and_nothing_hangs(host: Host, theirs: str):
    proxy = program(host, "cc-proxy", "-uri")
    os.kill(proxy.pid, signal.SIGKILL)
    said = f"cc-proxy (process {proxy.pid}) ended"  # no child of the monitor that took over
    wait_until(lambda: said in host.do("events"), "the event of its end")
    # its cc-shim would look for the proxy for ever
    wait_until(lambda: host.container(theirs, "other")["state"] == "stopped", "its end")
    assert said in host.container(theirs, "other")["reason"]
    refused = host.refuse("container", "start", theirs, "other")["message"]
    assert said in refused
    assert refused.endswith("; restart the pod")
    host.do("pod", "restart", theirs)
    assert host.do("container", "exec", theirs, "main", "--", "echo", "here") == "here\n"
    assert program(host, "cc-proxy", "-uri") != proxy


def test_a_proxy_that_ends_at_once_is_all_that_is_blamed(host: Host):
    keys = {
        "agent_type": "hyperstart",
        "proxy_type": "ccProxy",
        "proxy_config": {"path": shutil.which("false")},
    }
    refused = host.run("pod", "run", host.pod("broken", ("main", SCRIPT), **keys))
    assert "cc-proxy (process " in refused.stderr
    assert "kernel" not in refused.stderr
    assert not host.processes("broken")


def test_nothing_is_left_of_them(host: Host, theirs: str):
    host.do("pod", "delete", theirs)
    for name in ("cc-proxy", "cc-shim"):
        assert process.find_by_argument(host.root / name) == []
    assert host.left_over() == []
