"""An OCI bundle in a real guest: each part of its configuration is what its container sees."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until
from vctui import settings
from vctui.image.rootfs import rootfs_template

pytestmark = [pytest.mark.vm, pytest.mark.root]

SCRIPT = (
    'exec 2>&1; id; pwd; echo "$A"; cat /data/file; touch /x || echo read-only;'
    "cat /dev/shm/hook; exec sleep 100000"
)
EROFS, SIGUSR1 = 30, 10
GROUP = "/sys/fs/cgroup$(cut -d : -f 3 /proc/1/cgroup)"
LIMITED = {
    "/proc/sys/net/ipv4/ip_forward": "1",
    "/proc/sys/kernel/msgmax": "9000",
    "/proc/sys/vm/max_map_count": "70000",
    "/proc/1/oom_score_adj": "321",
    f"{GROUP}/memory.max": str(300 * 2**20),
    f"{GROUP}/cpu.max": "2000 2000",
    f"{GROUP}/cpu.weight": "20",
    f"{GROUP}/pids.max": "50",
}

PARTS = (
    f"cat {' '.join(LIMITED)}",
    "cat /proc/1/status",
    "cat /proc/1/limits",
    "cd /dev; stat -c '%n %F %a %u:%g' mine pipe",
    "cat /proc/uptime; ls /usr",
    "touch /dev/mqueue/x",
    "mkdir /dev/shm/x",
    "kill -USR1 1; kill -0 1 && echo there",
    "df -k /dev/shm | awk 'END {print $2}'",
    "grep ' / rw\\| / ro' /proc/self/mountinfo",
)


def configuration(bundle: Path) -> dict[str, Any]:
    def hooks(turn: str) -> list[dict[str, Any]]:
        return [{"path": str(bundle / "hook"), "args": ["hook", turn]}]

    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
            "args": ["/bin/sh", "-c", SCRIPT],
            "env": ["A=b=c", "PATH=/bin"],
            "cwd": "/data",
            "noNewPrivileges": True,
            "oomScoreAdj": 321,
            "rlimits": [
                {"type": "RLIMIT_CORE", "soft": 4, "hard": 5},
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            ],
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bundle-host",
        "hooks": {
            "prestart": hooks("prestart"),
            "createRuntime": hooks("createRuntime"),
            "poststart": hooks("poststart"),
            "poststop": hooks("poststop"),
            "startContainer": [
                {"path": "/hook", "args": ["hook", "in"], "env": ["PATH=/bin", "MARK=it"]}
            ],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/data", "type": "none", "source": "data", "options": ["bind", "ro"]},
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=2m"],
            },
        ],
        "linux": {
            "devices": [
                {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
                {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 384},
                {"path": "/dev/pipe", "type": "p", "fileMode": 438, "uid": 3, "gid": 4},
            ],
            "sysctl": {
                "net.ipv4.ip_forward": "1",
                "kernel.msgmax": "9000",
                "vm/max_map_count": "70000",
            },
            "maskedPaths": ["/proc/uptime", "/usr"],
            "readonlyPaths": ["/proc/sys", "/dev/mqueue"],
            "rootfsPropagation": "shared",
            "resources": {
                "memory": {"limit": 300 * 1024**2, "reservation": 2**20},
                "cpu": {"quota": 2000, "period": 2000, "shares": 512},
                "pids": {"limit": 50},
                "devices": [{"allow": False, "access": "rwm"}],
            },
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [
                    {
                        "names": ["mkdir", "mkdirat"],
                        "action": "SCMP_ACT_ERRNO",
                        "errnoRet": EROFS,
                    },
                    {
                        "names": ["kill"],
                        "action": "SCMP_ACT_ERRNO",
                        "args": [{"index": 1, "value": SIGUSR1, "op": "SCMP_CMP_EQ"}],
                    },
                ],
            },
        },
        "annotations": {"org.example": "kept"},
    }


def test_a_bundle_runs_as_it_says(host: Host, guest_cache: Path) -> None:
    bundle = host.root / "bundled"
    template = rootfs_template(settings.load(None, {"cache_dir": str(guest_cache)}), "busybox")
    shutil.copytree(template, bundle / "rootfs", symlinks=True)
    (bundle / "data").mkdir()
    (bundle / "data/file").write_text("mounted\n")
    told = bundle / "told"
    for path, script in (
        (bundle / "hook", f'echo "$1 $(cat)" >> {told}'),
        (bundle / "rootfs/hook", "cat >/dev/null; echo $MARK ran $1 >/dev/shm/hook"),
    ):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    (bundle / "config.json").write_text(json.dumps(configuration(bundle)))
    done = host.run("pod", "run", "--bundle", str(bundle))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

    def log() -> list[str]:
        return host.do("logs", "bundled", "bundled").splitlines()

    wait_until(lambda: "it ran in" in log(), "the container's log")
    lines = log()
    assert lines[0].startswith("uid=7 gid=8")
    assert "9" in lines[0].partition("groups=")[2]
    assert lines[1:4] == ["/data", "b=c", "mounted"]
    assert "read-only" in lines
    assert lines[-1] == "it ran in"
    status = host.status("bundled")
    assert status["hostname"] == "bundle-host"
    assert status["machine"]["memory"] == 300
    assert status["annotations"]["org.example"] == "kept"

    script = "; echo --; ".join(f"({part}) 2>&1" for part in PARTS)
    said = host.do("container", "exec", "bundled", "bundled", "--", "sh", "-c", script)
    values, process, limits, nodes, hidden, fixed, made, killed, size, mounts = (
        part.splitlines() for part in said.split("--\n")
    )
    assert values == list(LIMITED.values())
    assert "NoNewPrivs:\t1" in process
    words = [line.split() for line in limits]
    assert ["Max", "core", "file", "size", "4", "5", "bytes"] in words
    assert ["Max", "open", "files", "100", "200", "files"] in words
    assert nodes == ["mine character special file 600 0:0", "pipe fifo 666 3:4"]
    assert hidden == []
    assert fixed == ["touch: /dev/mqueue/x: Read-only file system"]
    assert made == ["mkdir: can't create directory '/dev/shm/x': Read-only file system"]
    assert killed == ["sh: can't kill pid 1: Operation not permitted", "there"]
    assert size == ["2048"]
    assert "shared:" in mounts[0]

    host.do("pod", "delete", "bundled")
    told_of = [line.split(" ", 1) for line in told.read_text().splitlines()]
    assert [turn for turn, _ in told_of] == ["prestart", "createRuntime", "poststart", "poststop"]
    states = [json.loads(state) for _, state in told_of]
    assert {(state["id"], state["bundle"]) for state in states} == {("bundled", str(bundle))}
    assert [state["status"] for state in states] == ["creating", "creating", "running", "stopped"]


def test_a_hook_in_the_container_that_fails_ends_its_start(host: Host) -> None:
    failing = {"id": "c1", "rootfs": "busybox", "cmd": {"args": ["sleep", "9"]}}
    failing["start_hooks"] = [{"path": "/bin/false"}]
    host.do("pod", "run", host.pod("hooking", ("idle", "sleep 100000")))
    file = host.file("c1.json", json.dumps(failing))
    host.do("container", "create", "hooking", file)
    error = host.refuse("container", "start", "hooking", "c1")
    assert "hook `/bin/false` (exit code: 1)" in error["message"]
    assert host.container("hooking", "c1")["state"] == "ready"
    refused = {**failing, "id": "c2", "start_hooks": [], "linux": {"sysctl": {"no.such": "1"}}}
    host.do("container", "create", "hooking", host.file("c2.json", json.dumps(refused)))
    error = host.refuse("container", "start", "hooking", "c2")
    assert "no parameter no.such" in error["message"]
    host.do("pod", "delete", "hooking")
