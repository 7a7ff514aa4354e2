"""A pod whose agent speaks hyperstart's protocol, from its file to its end."""

from __future__ import annotations

import http.server
import signal
import threading

import psutil
import pytest

from tests import lan as lans
from tests.e2e.conftest import Host, wait_until

pytestmark = pytest.mark.vm

SCRIPT = "trap 'exit 5' USR1; echo begun; echo oops >&2; while :; do sleep 0.2; done"


@pytest.fixture(scope="module")
def pod(host: Host) -> str:
    containers = (("main", SCRIPT), ("idle", "cat; sleep 100000"))
    host.do("pod", "run", host.pod("hyper", *containers, agent_type="hyperstart"))
    return "hyper"


def test_containers_run_and_log(host: Host, pod: str):
    status = host.status(pod)
    assert status["agent"] == "hyperstart"
    assert [one["state"] for one in status["containers_status"]] == ["running"] * 2
    wait_until(lambda: len(host.ask("logs", pod, "main")) == 2, "both lines")
    lines = {line["stream"]: line["text"] for line in host.ask("logs", pod, "main")}
    assert lines == {"stdout": "begun", "stderr": "oops"}


def test_exec_gives_output_of_both_streams_input_and_exit_status(host: Host, pod: str):
    words = ("--user", "nobody", "--workdir", "/tmp", "--env", "A=b c")
    script = 'id -un; pwd; echo "$A"; cat; echo err >&2; exit 3'
    done = host.run(
        "container", "exec", "-i", pod, "idle", *words, "--", "sh", "-c", script, stdin="typed"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "nobody\n/tmp\nb c\ntyped", "err\n")


def test_much_output_arrives_whole(host: Host, pod: str):
    said = host.do("container", "exec", pod, "idle", "--", "seq", "1", "50000")
    assert said == "".join(f"{number}\n" for number in range(1, 50001))


def test_much_input_arrives_whole(host: Host, pod: str):
    """Of which the agent keeps 512 bytes, and drops more."""
    words = "".join(f"{number}\n" for number in range(6000))
    said = host.run("container", "exec", "-i", pod, "idle", "--", "cat", stdin=words)
    assert said.stdout == words


def test_files_are_copied_by_the_agent_or_by_a_process(host: Host, pod: str):
    """The first by the agent's commands, without a process; the longer one goes in by one."""
    before = len(host.ask("events"))
    links = "ln -s /tmp/small /link; ln -s /proc/2/root/etc /other; echo text > /dev/shm/x"
    host.do("container", "exec", pod, "idle", "--", "sh", "-c", links)
    host.do("container", "cp", "-", f"{pod}:idle:/link", stdin="small")
    assert host.do("container", "cp", f"{pod}:idle:/tmp/small", "-") == "small"
    assert host.do("container", "cp", f"{pod}:idle:/dev/shm/x", "-") == "text\n"
    kinds = [one["kind"] for one in host.ask("events")[before:]]
    assert kinds.count("process-started") == 1
    assert host.do("container", "cp", f"{pod}:idle:/proc/version", "-").startswith("Linux version")
    said = host.do("container", "exec", pod, "idle", "--", "stat", "-c", "%a %s", "/tmp/small")
    assert said == "644 5\n"
    data = bytes(range(256)) * 2000
    (host.root / "in").write_bytes(data)
    host.do("container", "cp", str(host.root / "in"), f"{pod}:idle:/tmp/in")
    host.do("container", "cp", f"{pod}:idle:/tmp/in", str(host.root / "out"))
    assert (host.root / "out").read_bytes() == data
    error = host.refuse("container", "cp", f"{pod}:idle:/other/passwd", str(host.root / "none"))
    assert "No such file" in error["message"]


def test_processes_are_listed_by_ps_in_the_container(host: Host, pod: str):
    assert "sleep 100000" in host.do("container", "ps", pod, "idle")


def test_a_signal_reaches_the_container_and_its_status_is_kept(host: Host, pod: str):
    host.do("container", "kill", pod, "main", "--signal", "USR1")
    wait_until(lambda: host.container(pod, "main")["state"] == "stopped", "its end")
    assert host.container(pod, "main")["exit_code"] == 5
    host.do("container", "start", pod, "main")
    assert host.container(pod, "main")["state"] == "running"


def test_a_killed_monitor_is_replaced_and_still_hears_the_processes(host: Host, pod: str):
    (monitor,) = [
        process
        for one in host.processes(pod)
        if "vctui.companions.monitor" in (process := psutil.Process(one.pid)).cmdline()
    ]
    monitor.send_signal(signal.SIGKILL)
    assert host.do("container", "exec", pod, "idle", "--", "echo", "again") == "again\n"
    host.do("container", "kill", pod, "main", "--signal", "USR1")
    wait_until(lambda: host.container(pod, "main")["state"] == "stopped", "its end")
    assert host.container(pod, "main")["exit_code"] == 5


def test_what_the_agent_cannot_do_is_one_sentence(host: Host, pod: str):
    document = '{"id": "more", "rootfs": "busybox", "cmd": {"args": ["sh"], "oom_score_adj": 5}}'
    host.do("container", "create", pod, host.file("more.json", document))
    error = host.refuse("container", "start", pod, "more")
    assert "oom_score_adj" in error["message"]


def test_pause_resume_stop_and_delete_leave_nothing(host: Host, pod: str):
    host.do("pod", "pause", pod)
    host.do("pod", "resume", pod)
    assert host.do("container", "exec", pod, "idle", "--", "echo", "on") == "on\n"
    host.do("pod", "stop", pod)
    host.do("pod", "delete", pod)
    assert host.left_over() == []


@pytest.mark.root
@pytest.mark.parametrize("proxy", ["kataBuiltInProxy", "ccProxy"])
def test_a_network_reaches_the_guest(
    host: Host, tmp_path_factory: pytest.TempPathFactory, proxy: str
):
    """Which finds its interface by the kernel's name, or by its MAC, and fetches a page."""
    with lans.made(tmp_path_factory.mktemp("lan")) as lan:
        namespace = lan.namespace("pod")
        lan.plug(namespace, addresses=("10.77.0.2/24", "fd77::2/64"), gateways=("10.77.0.1",))
        server = lan.inside(lambda: http.server.HTTPServer(("10.77.0.1", 8080), Page))
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            keys = {
                "agent_type": "hyperstart",
                "proxy_type": proxy,
                "network_model": "CNM",
                "network_config": {"net_ns_path": str(namespace)},
            }
            host.do("pod", "run", host.pod("net", ("main", "sleep 100000"), **keys))
            script = "wget -q -O - http://10.77.0.1:8080/; ip route"
            said = host.do("container", "exec", "net", "main", "--", "sh", "-c", script)
            assert said.startswith("a page\ndefault via 10.77.0.1 dev eth0")
            assert "cannot be told of IPv6 addresses" in host.do("events")
            host.do("pod", "delete", "net")
        finally:
            server.shutdown()
            serving.join()
            server.server_close()
    assert host.left_over() == []


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page\n")

    def log_message(self, *_: object) -> None:
        pass
