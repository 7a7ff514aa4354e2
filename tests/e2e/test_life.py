"""A pod with two containers on a real machine, from its file to its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until

pytestmark = pytest.mark.vm

TICKS = "n=0; while :; do n=$((n+1)); echo tick $n; echo oops $n >&2; sleep 0.2; done"


@pytest.fixture(scope="module")
def started(host: Host) -> Any:
    """What its start has printed."""
    file = host.pod("life", ("clock", TICKS), ("idle", "sleep 100000"))
    return host.ask("pod", "run", "--trace", file)


@pytest.fixture(scope="module")
def pod(started: Any) -> str:
    return "life"


def ticks(host: Host) -> list[str]:
    return [line for line in host.do("logs", "life", "clock").splitlines() if "tick" in line]


def test_status_tells_of_machine_and_containers(host: Host, pod: str):
    status = host.status(pod)
    assert status["state"] == "running"
    assert status["machine"]["accelerator"] in {"kvm", "tcg"}
    assert [one["state"] for one in status["containers_status"]] == ["running", "running"]
    assert [one["id"] for one in host.ask("pod", "list")] == [pod]


def test_the_start_tells_where_the_time_went(started: Any):
    steps = {step["name"]: step for step in started["trace"]["steps"]}
    whole, crun = steps["run pod life"], steps["crun run"]
    assert crun["where"] == "guest"
    assert "kernel" not in steps, "it booted as a template, in nobody's time"
    for inner, outer in (
        (crun, whole),
        (steps["container clock"], whole),
        (steps["start the machine"], whole),
    ):
        assert 0 < inner["took"] < outer["took"] + 0.2
        assert outer["begin"] - 0.5 < inner["begin"] < outer["begin"] + outer["took"]


def test_exec_gives_output_and_exit_status(host: Host, pod: str):
    done = host.run(
        "container", "exec", pod, "idle", "--", "sh", "-c", "echo out; echo err >&2; exit 3"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_exec_takes_user_folder_variables_and_input(host: Host, pod: str):
    words = ("--user", "nobody", "--workdir", "/tmp", "--env", "A=b c")
    script = 'id -un; pwd; echo "$A"; cat'
    said = host.do(
        "container", "exec", "-i", pod, "idle", *words, "--", "sh", "-c", script, stdin="typed"
    )
    assert said == "nobody\n/tmp\nb c\ntyped"


def test_much_output_arrives_whole(host: Host, pod: str):
    said = host.do("container", "exec", pod, "idle", "--", "seq", "1", "200000")
    assert said == "".join(f"{number}\n" for number in range(1, 200001))


@pytest.mark.parametrize(
    ("command", "status"),
    [("/no/such/program", 127), ("no-such-program", 127), ("/etc/passwd", 126)],
)
def test_a_command_that_cannot_run_has_the_shells_exit_status(
    host: Host, pod: str, command: str, status: int
):
    done = host.run("container", "exec", pod, "idle", "--", command)
    assert done.returncode == status
    assert command in done.stderr
    assert done.stderr.count("\n") == 1


def test_files_are_copied_in_and_out(host: Host, pod: str):
    data = bytes(range(256)) * 2000
    (host.root / "in").write_bytes(data)
    host.do("container", "exec", pod, "idle", "--", "ln", "-s", "/tmp/in", "/link")
    host.do("container", "cp", str(host.root / "in"), f"{pod}:idle:/tmp/")
    told = host.ask("container", "cp", f"{pod}:id:/link", str(host.root / "out"))
    assert told["bytes"] == len(data)
    assert told["id"] == "idle"
    assert (host.root / "out").read_bytes() == data
    for path, why in (("/none", "No such file"), ("/etc", "not a file"), ("/dev/zero", "not a f")):
        error = host.refuse("container", "cp", f"{pod}:idle:{path}", str(host.root / "none"))
        assert why in error["message"]
    assert not (host.root / "none").exists()
    error = host.refuse("container", "cp", str(host.root / "in"), f"{pod}:idle:/none/x")
    assert error["message"].startswith("cannot write '/none/x' in container 'idle': ")


def test_processes_are_listed_as_json_and_as_table(host: Host, pod: str):
    listed = json.loads(host.do("container", "ps", pod, "idle", "--format", "json"))
    assert [row["args"] for row in listed] == ["sleep 100000"]
    table = host.do("container", "ps", pod, "idle", "--", "-o", "pid,args").splitlines()
    assert table[0].split() == ["PID", "COMMAND"]
    assert table[1].split() == ["1", "sleep", "100000"]


def test_the_log_keeps_streams_apart_and_knows_times(host: Host, pod: str):
    wait_until(lambda: len(ticks(host)) > 3, "ticks in the log")
    lines = host.ask("logs", pod, "clock", "--tail", "4")
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}
    assert all(line["time"] for line in lines)


def test_console_and_agent_logs_are_kept(host: Host, pod: str):
    assert "Linux version" in host.do("logs", pod, "--source", "console")
    assert "clock" in host.do("logs", pod, "--source", "agent")


def test_pause_stops_the_containers_clock_and_resume_lets_it_go_on(host: Host, pod: str):
    wait_until(lambda: ticks(host), "a tick")
    host.do("pod", "pause", pod)
    assert host.container(pod, "clock")["state"] == "paused"
    frozen = ticks(host)
    assert host.refuse("container", "exec", pod, "clock", "--", "true")["kind"] == "wrong-state"
    assert ticks(host) == frozen
    host.do("pod", "resume", pod)
    wait_until(lambda: len(ticks(host)) > len(frozen), "a tick after the pause")
    assert ticks(host)[: len(frozen)] == frozen
    assert ticks(host)[len(frozen)] == f"tick {len(frozen) + 1}"


def test_a_killed_container_reads_137_and_starts_again(host: Host, pod: str):
    host.do("container", "kill", pod, "clock", "--signal", "KILL")
    wait_until(lambda: host.container(pod, "clock")["state"] == "stopped", "the container's end")
    assert host.container(pod, "clock")["exit_code"] == 137
    host.do("container", "start", pod, "clock")
    assert host.container(pod, "clock")["exit_code"] is None


def test_exit_statuses_are_the_real_ones(host: Host, pod: str):
    for script, status in (("exit 3", 3), ("kill -TERM $$", 143), ("true", 0)):
        document = {
            "id": "short",
            "rootfs": "busybox",
            "cmd": {"args": ["/bin/sh", "-c", f"sh -c '{script}'; exit $?"]},
        }
        host.do("container", "create", pod, host.file("short.json", json.dumps(document)))
        host.do("container", "start", pod, "short")
        wait_until(lambda: host.container(pod, "short")["state"] == "stopped", script)
        assert host.container(pod, "short")["exit_code"] == status
        host.do("container", "delete", pod, "short")


FAMILY = """
sh -c 'trap "echo child; exit" USR1; while :; do sleep 0.1; done' &
trap 'echo parent; wait; exit 5' USR1
while :; do sleep 0.1; done
"""


def test_all_processes_of_a_container_can_be_signalled(host: Host, pod: str):
    document = {
        "id": "family",
        "rootfs": "busybox",
        "cmd": {"args": ["/bin/sh", "-c", FAMILY]},
    }
    host.do("container", "create", pod, host.file("family.json", json.dumps(document)))
    host.do("container", "start", pod, "family")
    listing = ("container", "ps", pod, "family", "--format", "json")
    wait_until(lambda: len(json.loads(host.do(*listing))) >= 3, "its processes")
    host.do("container", "kill", pod, "family", "--signal", "USR1", "--all")
    wait_until(lambda: host.container(pod, "family")["state"] == "stopped", "its end")
    assert {"child", "parent"} <= set(host.do("logs", pod, "family").split())
    assert host.container(pod, "family")["exit_code"] == 5
    host.do("container", "delete", pod, "family")


def test_files_survive_stop_and_start_and_are_not_shared(host: Host, pod: str):
    host.do("container", "exec", pod, "idle", "--", "sh", "-c", "echo kept > /note")
    done = host.run("container", "exec", pod, "clock", "--", "cat", "/note")
    assert done.returncode == 1
    host.do("pod", "stop", pod)
    assert host.status(pod)["machine"] is None
    assert host.processes(pod) == []
    host.do("pod", "start", pod)
    assert host.do("container", "exec", pod, "idle", "--", "cat", "/note") == "kept\n"


def test_delete_leaves_nothing(host: Host, pod: str):
    host.do("pod", "delete", pod)
    assert host.left_over() == []
    assert host.refuse("pod", "status", pod)["kind"] == "not-found"
