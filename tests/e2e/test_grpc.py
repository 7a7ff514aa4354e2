"""A pod whose agent speaks Kata 1.x's protocol, gRPC over yamux, found out by asking it."""

from __future__ import annotations

import json
import signal

import psutil
import pytest

from tests.e2e.conftest import Host, wait_until

pytestmark = pytest.mark.vm

MEMORY_LIMIT = 45 << 20
"""Bytes of resident memory of a monitor that speaks gRPC (design section 3)."""
FACE = "vctui.protocol=grpc"
TICKS = (
    "trap 'exit 5' USR1; n=0; "
    "while :; do n=$((n+1)); echo tick $n; echo oops $n >&2; sleep 0.2; done"
)


@pytest.fixture(scope="module")
def pod(host: Host) -> str:
    """Told only where kernel and initrd are, as for a guest that others have built."""
    (guest, *_) = host.ask("guest", "list")
    parameters = [f"--kernel-param={word}" for word in (*guest["kernel_params"], FACE)]
    files = ("--kernel", guest["kernel"], "--initrd", guest["initrd"])
    host.do("guest", "add", "old", *files, *parameters)
    containers = (("clock", TICKS), ("idle", "sleep 100000"))
    host.do("pod", "run", host.pod("first", *containers, guest="old"))
    return "first"


def test_a_guest_is_checked_by_asking_its_agent(host: Host):
    host.do("guest", "build", "--flavour", "grpc")
    report = host.ask("guest", "check", "grpc")
    assert (report["agent"], report["protocol"]) == ("1.12.1", "grpc")
    assert "9p" in report["storage_handlers"]
    assert report["features"] == []
    assert host.ask("pod", "list") == []


def monitor(host: Host, pod: str) -> psutil.Process:
    (found,) = [
        process
        for one in host.processes(pod)
        if "vctui.companions.monitor" in (process := psutil.Process(one.pid)).cmdline()
    ]
    return found


def test_containers_run_and_are_executed_in(host: Host, pod: str):
    assert [one["state"] for one in host.status(pod)["containers_status"]] == ["running"] * 2
    done = host.run(
        "container", "exec", pod, "idle", "--", "sh", "-c", "echo out; echo err >&2; exit 3"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    script = 'id -un; id -g; pwd; echo "$A"; cat'
    words = ("--user", "nobody:7", "--workdir", "/tmp", "--env", "A=b c")
    said = host.do(
        "container", "exec", "-i", pod, "idle", *words, "--", "sh", "-c", script, stdin="typed"
    )
    assert said == "nobody\n7\n/tmp\nb c\ntyped"


def test_much_output_arrives_whole(host: Host, pod: str):
    said = host.do("container", "exec", pod, "idle", "--", "seq", "1", "100000")
    assert said == "".join(f"{number}\n" for number in range(1, 100001))


def test_a_command_that_is_not_there_reads_127(host: Host, pod: str):
    assert host.run("container", "exec", pod, "idle", "--", "no-such-program").returncode == 127


def test_output_is_logged_stream_by_stream(host: Host, pod: str):
    wait_until(lambda: "tick 4" in host.do("logs", pod, "clock"), "ticks in the log")
    streams = {line["stream"] for line in host.ask("logs", pod, "clock", "--tail", "4")}
    assert streams == {"stdout", "stderr"}


def test_processes_are_listed(host: Host, pod: str):
    table = host.do("container", "ps", pod, "idle", "--", "-o", "pid,args").splitlines()
    assert table[1].split()[1:] == ["sleep", "100000"]
    assert json.loads(host.do("container", "ps", pod, "idle", "--format", "json"))


def test_all_processes_of_a_container_can_be_signalled(host: Host, pod: str):
    host.do("container", "kill", pod, "clock", "--signal", "USR1", "--all")
    wait_until(lambda: host.container(pod, "clock")["state"] == "stopped", "its end")
    assert host.container(pod, "clock")["exit_code"] == 5


def test_a_killed_monitor_is_replaced_and_finds_the_agent_again(host: Host, pod: str):
    before = monitor(host, pod)
    assert before.memory_info().rss < MEMORY_LIMIT
    before.send_signal(signal.SIGKILL)
    assert host.do("container", "exec", pod, "idle", "--", "echo", "again") == "again\n"
    assert monitor(host, pod).pid != before.pid


def test_pause_resume_and_delete_leave_nothing(host: Host, pod: str):
    host.do("pod", "pause", pod)
    host.do("pod", "resume", pod)
    assert host.do("container", "exec", pod, "idle", "--", "echo", "on") == "on\n"
    host.do("pod", "stop", pod)
    host.do("pod", "delete", pod)
    assert host.left_over() == []
