"""The command line on a real pod: exit statuses, streams, terminals, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

pytestmark = pytest.mark.vm

POD = """
id = "web"

[[containers]]
id = "main"
rootfs = "busybox"
cmd = {args = ["/bin/sh", "-c", "trap 'exit 3' TERM; echo up; echo oops >&2; while :; do sleep 1; done"]}

[[containers]]
id = "shell"
rootfs = "busybox"
cmd = {args = ["/bin/sh"], envs = ["PS1=ready> "], interactive = true}
"""  # noqa: E501 - one shell command
PATIENCE = 30


class Host:
    """Folders of its own, and the program as a script starts it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.argv = [sys.executable, "-m", "vctui"]
        self.environment = {
            **os.environ,
            "VCTUI_RUN_DIR": str(home / "run"),
            "VCTUI_STATE_DIR": str(home / "state"),
            "TERM": "xterm",
        }

    def start(self, *words: str, **streams: int) -> subprocess.Popen[str]:
        return subprocess.Popen([*self.argv, *words], env=self.environment, text=True, **streams)

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.argv, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def document(self, *words: str) -> object:
        done = self(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def on_a_terminal(self, *words: str) -> pexpect.spawn[str]:
        return pexpect.spawn(
            self.argv[0],
            [*self.argv[1:], *words],
            env=self.environment,
            encoding="utf-8",
            timeout=PATIENCE,
            dimensions=(30, 100),
        )

    def left_over(self) -> list[str]:
        """Whatever of a pod is still there: files, mounts, processes."""
        files = [str(path) for path in self.home.glob("run/*/*")]
        files += [str(path) for path in self.home.glob("state/rootfs/*")]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        processes = []
        for commandline in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                processes.append(commandline.read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return [
            *files,
            *(line for line in mounts if str(self.home) in line),
            *(line for line in processes if f"{self.home}/run/pods" in line),
        ]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, guest_cache: Path) -> Iterator[Host]:
    """A host with the pod `web` running; nothing of it is left afterwards."""
    home = tmp_path_factory.mktemp("host")
    host = Host(home)
    host.environment["VCTUI_CACHE_DIR"] = str(guest_cache)
    done = host("pod", "run", "-", stdin=POD)
    assert (done.returncode, done.stdout) == (0, "web\n"), done.stderr
    yield host
    assert host("pod", "delete", "web").returncode == 0
    assert host.left_over() == []


@pytest.mark.parametrize(
    ("words", "status"),
    [(("true",), 0), (("sh", "-c", "exit 3"), 3), (("sh", "-c", "kill -9 $$"), 137)],
)
def test_the_exit_status_is_the_processs_own(
    host: Host, words: tuple[str, ...], status: int
) -> None:
    assert host("container", "exec", "web", "main", "--", *words).returncode == status


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [("nosuch", 127, "was not found"), ("/etc/passwd", 126, "cannot be executed")],
)
def test_a_command_that_cannot_be_started_has_a_shells_status(
    host: Host, command: str, status: int, said: str
) -> None:
    done = host("container", "exec", "web", "main", "--", command)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_streams_are_kept_apart_and_standard_input_is_passed_on_and_closed(host: Host) -> None:
    done = host("container", "exec", "-i", "web", "main", "--", "sh", "-c", "cat; echo e >&2",
                stdin="a\nb\n")  # fmt: skip
    assert (done.stdout, done.stderr) == ("a\nb\n", "e\n")
    assert host("container", "exec", "web", "main", "--", "cat", stdin="lost").stdout == ""


def test_much_output_arrives_whole(host: Host) -> None:
    done = host("container", "exec", "web", "main", "--", "seq", "200000")
    assert done.stdout.splitlines() == [str(number) for number in range(1, 200001)]


def test_user_folder_and_variables_are_the_processs(host: Host) -> None:
    done = host(
        *("container", "exec", "web", "main", "--user", "1000:1000", "--workdir", "/tmp"),
        *("--env", "A=b c", "--", "sh", "-c", 'id -u; id -g; pwd; echo "$A"'),
    )
    assert done.stdout.split("\n") == ["1000", "1000", "/tmp", "b c", ""]


def test_a_command_in_json_is_one_document(host: Host) -> None:
    done = host("container", "exec", "--json", "web", "main", "--", "sh", "-c", "echo o; exit 4")
    document = json.loads(done.stdout)
    assert done.returncode == 4
    assert (document["exit_code"], document["stdout"]) == (4, "o\n")


def test_a_detached_process_can_be_seen_and_joined(host: Host) -> None:
    detached = ("container", "exec", "-d", "web", "main", "--")
    token = host(*detached, "sh", "-c", "echo here; exec sleep 987").stdout.strip()
    rows = host.document("container", "ps", "web", "main")
    assert isinstance(rows, list)
    assert "sleep 987" in [row["args"] for row in rows]
    assert "sleep 987" in host("container", "ps", "web", "main").stdout
    joined = host.start(
        *("container", "attach", "web", "main", "--process", token, "--no-stdin"),
        stdout=subprocess.PIPE,
    )
    assert joined.stdout
    with joined:
        assert joined.stdout.readline() == "here\n"
        killed = host("container", "exec", "web", "main", "--", "killall", "-9", "sleep")
        assert killed.returncode == 0, killed.stderr
        assert joined.wait(timeout=PATIENCE) == 137


def test_logs_have_what_the_container_wrote_and_where_to(host: Host) -> None:
    lines = host.document("logs", "web", "main")
    assert isinstance(lines, list)
    assert {"up": "stdout", "oops": "stderr"}.items() <= {
        line["text"]: line["stream"] for line in lines
    }.items()
    assert host("logs", "web", "--source", "console").stdout
    assert "the agent serves" in host("logs", "web", "--source", "agent").stdout
    assert host("logs", "web", "main", "--tail", "0").stdout == ""


def test_following_shows_what_comes_until_it_is_interrupted(host: Host) -> None:
    following = host.start("events", "--follow", "--tail", "1", "--json", stdout=subprocess.PIPE)
    assert following.stdout
    following.stdout.readline()  # it follows from here on
    host("pod", "pause", "web")
    host("pod", "resume", "web")
    kinds = [json.loads(following.stdout.readline())["kind"] for _ in range(2)]
    assert kinds == ["pod-paused", "pod-resumed"]
    following.send_signal(signal.SIGINT)
    assert following.wait(timeout=PATIENCE) == 130
    following.stdout.close()


def test_a_shell_on_a_terminal_is_a_shell(host: Host) -> None:
    shell = host.on_a_terminal("container", "exec", "-it", "web", "main", "--", "/bin/sh")
    shell.expect("# ")
    shell.sendline("stty size; tty; echo $TERM")
    shell.expect("30 100\r\n/dev/pts/[0-9]+\r\nxterm\r\n")
    shell.setwinsize(40, 120)
    shell.sendline("echo begun; sleep 600")
    shell.expect("\r\nbegun\r\n")  # so that the key comes as a signal: the shell reads no more
    shell.sendcontrol("c")
    shell.expect("# ")
    shell.sendline("stty size; exit 5")
    shell.expect("40 120")
    shell.expect(pexpect.EOF)
    shell.wait()
    assert shell.exitstatus == 5


def test_the_detach_keys_leave_a_process_running(host: Host) -> None:
    for _ in range(2):
        attached = host.on_a_terminal("container", "attach", "web", "shell")
        attached.sendline("")
        attached.expect("ready> ")
        attached.send("\x10\x11")
        attached.expect("detached")
        attached.expect(pexpect.EOF)
        attached.wait()
        assert attached.exitstatus == 0
    status = host.document("container", "status", "web", "shell")
    assert isinstance(status, dict)
    assert status["state"] == "running"


def test_a_paused_pod_stands_still(host: Host) -> None:
    assert host("pod", "pause", "web").returncode == 0
    try:
        done = host("container", "exec", "--json", "web", "main", "--", "true")
        assert done.returncode == 1
        assert json.loads(done.stdout)["error"]["kind"] == "wrong-state"
    finally:
        assert host("pod", "resume", "web").returncode == 0


@pytest.mark.parametrize(
    ("options", "status"), [((), 3), (("--signal", "KILL"), 137)], ids=["TERM", "KILL"]
)
def test_a_killed_container_has_its_real_status(
    host: Host, options: tuple[str, ...], status: int
) -> None:
    assert host("container", "kill", "web", "main", *options).returncode == 0

    def container() -> dict[str, object]:
        found = host.document("container", "status", "web", "main")
        assert isinstance(found, dict)
        return found

    eventually(lambda: container()["state"] == "stopped")
    assert container()["exit_code"] == status
    assert host("container", "start", "web", "main").returncode == 0
    eventually(lambda: "up" in host("logs", "web", "main").stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_start_that_is_interrupted_is_undone(host: Host, number: signal.Signals) -> None:
    file = host.home / "late.toml"
    file.write_text('id = "late"')
    starting = host.start("-v", "pod", "run", str(file), stderr=subprocess.PIPE)
    assert starting.stderr
    for line in starting.stderr:
        if line == "waiting for the agent\n":
            break
    starting.send_signal(number)
    rest = starting.stderr.read()
    starting.stderr.close()
    assert starting.wait(timeout=PATIENCE) == 128 + number
    assert "what was begun is undone" in rest
    assert [pod["id"] for pod in host.document("pod", "list")] == ["web"]  # type: ignore[attr-defined]
    assert [entry for entry in host.left_over() if "late" in entry] == []
