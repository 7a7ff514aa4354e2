"""The API's fields on a real machine: what a pod asks for is what its containers see."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import PATIENCE, Host, wait_until

pytestmark = pytest.mark.vm

GROUP = "/sys/fs/cgroup$(cut -d : -f 3 /proc/1/cgroup)"
"""A container's control group, for its shell."""

NET_ADMIN, CHOWN = 12, 0
CAPABILITIES = {
    "CapBnd": "bounding",
    "CapEff": "effective",
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapAmb": "ambient",
}


@pytest.fixture(scope="module")
def terminal() -> Iterator[tuple[int, str]]:
    """The terminal that container `typed` is connected to: its other end, and its path."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 111))
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.fixture(scope="module")
def pod(host: Host, terminal: tuple[int, str]) -> str:
    site = host.root / "site"
    (site / "folder").mkdir(parents=True)
    (site / "file").write_text("from the host\n")
    (site / "folder" / "inner").write_text("inner\n")
    config = {
        "id": "fields",
        "hostname": "some-name",
        "vm_config": {"vcpus": 2, "memory": 300},
        "hypervisor_config": {
            "default_vcpus": 1,
            "default_mem_sz": 700,
            "kernel_params": [{"key": "vctui.probe", "value": "7"}],
        },
        "agent_config": {"debug": True},
        "annotations": {"org.example.pod": "yes"},
        "containers": [
            {
                "id": "plain",
                "rootfs": "busybox",
                "cmd": {
                    "args": ["/bin/sh", "-c", "while :; do sleep 1000; done", "arg zero", "last"],
                    "envs": ["FROM_FILE=a b", "EMPTY="],
                    "work_dir": "/var",
                },
                "annotations": {"org.example.container": "yes"},
                "resources": {
                    "cpu_quota": 150000,
                    "cpu_shares": 512,
                    "memory_limit": 100 * 2**20,
                    "memory_reservation": 2**20,
                    "pids_limit": 50,
                    "hugepage_limits": {"2MB": 2**21},
                    "devices": [
                        {"allow": False},
                        {"allow": True, "type": "c", "major": 4, "minor": 64, "access": "r"},
                    ],
                },
                "mounts": [
                    {"source": str(site / "file"), "destination": "/given/file"},
                    {"source": str(site / "folder"), "destination": "/given/rw"},
                    {
                        "source": str(site / "folder"),
                        "destination": "/given/ro",
                        "read_only": True,
                    },
                    {
                        "type": "tmpfs",
                        "source": "tmpfs",
                        "destination": "/scratch",
                        "options": ["size=1m", "mode=1777"],
                    },
                ],
            },
            {
                "id": "bound",
                "rootfs": "busybox",
                "readonly_rootfs": True,
                "cmd": {
                    "args": ["/bin/sleep", "100000"],
                    "user": "nobody",
                    "primary_group": "7",
                    "supplementary_groups": ["8", "9"],
                    "no_new_privileges": True,
                    "capabilities": {
                        name: ["CAP_NET_ADMIN"] for name in ("bounding", "inheritable")
                    },
                },
            },
            {
                "id": "typed",
                "rootfs": "busybox",
                "cmd": {
                    "args": ["/bin/sh", "-c", 'while read -r said; do echo "got $said"; done'],
                    "interactive": True,
                    "console": terminal[1],
                    "capabilities": {name: ["CAP_CHOWN"] for name in CAPABILITIES.values()},
                },
            },
        ],
    }
    host.do("pod", "run", host.file("fields.json", json.dumps(config)))
    return "fields"


def sh(host: Host, container: str, script: str) -> str:
    return host.do("container", "exec", "fields", container, "--", "sh", "-c", script)


def first_process(host: Host, container: str) -> dict[str, str]:
    """What the kernel says of the container's own process."""
    return process_status(host, container, "1")


def process_status(host: Host, container: str, pid: str) -> dict[str, str]:
    lines = sh(host, container, f"cat /proc/{pid}/status").splitlines()
    return {name: " ".join(rest.split()) for name, _, rest in (one.partition(":") for one in lines)}


def test_the_machine_has_the_size_that_vm_config_asks_for(host: Host, pod: str):
    assert sh(host, "plain", "grep -c ^processor /proc/cpuinfo") == "2\n"
    total = int(sh(host, "plain", "awk '/^MemTotal/ {print $2}' /proc/meminfo")) // 1024
    assert 200 < total <= 300
    assert host.status(pod)["machine"]["vcpus"] == 2


def test_hostname_and_kernel_parameters_arrive(host: Host, pod: str):
    assert sh(host, "plain", "hostname; cat /etc/hostname 2>/dev/null || true").startswith(
        "some-name\n"
    )
    assert sh(host, "plain", "cat /proc/cmdline").split()[-1] == "vctui.probe=7"


def test_arguments_environment_and_folder_arrive(host: Host, pod: str):
    arguments = sh(host, "plain", "tr '\\0' '|' < /proc/1/cmdline")
    assert arguments == "/bin/sh|-c|while :; do sleep 1000; done|arg zero|last|"
    environment = sh(host, "plain", "tr '\\0' '|' < /proc/1/environ").split("|")
    assert "FROM_FILE=a b" in environment
    assert "EMPTY=" in environment
    assert sh(host, "plain", "readlink /proc/1/cwd") == "/var\n"


def test_a_container_has_its_limits(host: Host, pod: str):
    files = {
        "cpu.max": "150000 100000",
        "cpu.weight": "20",
        "memory.max": str(100 * 2**20),
        "memory.low": str(2**20),
        "pids.max": "50",
        "hugetlb.2MB.max": str(2**21),
    }
    said = sh(host, "plain", f"cd {GROUP} && cat {' '.join(files)}")
    assert said.splitlines() == list(files.values())
    assert "max" in sh(host, "bound", f"cat {GROUP}/memory.max")


def test_device_rules_hold(host: Host, pod: str):
    script = (
        "mknod /dev/given c 4 64 && mknod /dev/denied c 4 65;"
        "dd if=/dev/given count=0 2>/dev/null && echo opened;"
        "dd if=/dev/null of=/dev/given 2>&1; dd if=/dev/denied count=0 2>&1"
    )
    assert sh(host, "plain", f"{script}; true").splitlines() == [
        "opened",
        "dd: can't open '/dev/given': Operation not permitted",
        "dd: can't open '/dev/denied': Operation not permitted",
    ]


def test_user_and_groups_arrive(host: Host, pod: str):
    status = first_process(host, "bound")
    assert status["Uid"].split()[0] == sh(host, "plain", "id -u nobody").strip()
    assert status["Gid"].split()[0] == "7"
    assert set(status["Groups"].split()) >= {"8", "9"}
    assert first_process(host, "plain")["Uid"].split()[0] == "0"


def test_privileges_and_capabilities_arrive(host: Host, pod: str):
    status, plain = first_process(host, "bound"), first_process(host, "plain")
    assert (status["NoNewPrivs"], plain["NoNewPrivs"]) == ("1", "0")
    assert int(status["CapBnd"], 16) == 1 << NET_ADMIN
    assert int(status["CapEff"], 16) == 0
    usual = int(plain["CapBnd"], 16)
    assert usual & (1 << CHOWN)
    assert not usual & (1 << NET_ADMIN)


def test_each_set_of_capabilities_arrives(host: Host, pod: str):
    status = first_process(host, "typed")
    assert {name: int(status[name], 16) for name in CAPABILITIES} == dict.fromkeys(
        CAPABILITIES, 1 << CHOWN
    )


def test_a_process_that_is_added_has_what_its_container_has(host: Host, pod: str):
    own, first = process_status(host, "bound", "self"), process_status(host, "bound", "1")
    for name in ("Uid", "Gid", "Groups", "NoNewPrivs", *CAPABILITIES):
        assert own[name] == first[name], name
    plain = sh(host, "plain", "pwd; echo $FROM_FILE")
    assert plain == "/var\na b\n"
    root = ("container", "exec", "-u", "root", "-w", "/tmp", "-e", "FROM_FILE=c", "fields", "bound")
    assert host.do(*root, "--", "sh", "-c", "id -u; pwd; echo $FROM_FILE") == "0\n/tmp\nc\n"


def test_a_detached_process_has_nothing_to_read(host: Host, pod: str):
    """Its standard input is at its end, so that it does not wait for ever."""
    script = "cat; echo done > /scratch/detached"
    host.do("container", "exec", "-d", "fields", "plain", "--", "sh", "-c", script)
    seen = ("container", "exec", "fields", "plain", "--", "cat", "/scratch/detached")
    wait_until(lambda: host.run(*seen).stdout == "done\n", "the end of what is detached")


def test_an_interactive_process_has_a_terminal(host: Host, pod: str):
    asked = "test -t 0 < /proc/1/fd/0 && echo terminal || echo none"
    assert sh(host, "typed", asked) == "terminal\n"
    assert sh(host, "plain", asked) == "none\n"
    assert host.container(pod, "typed")["terminal"]


def test_a_process_is_connected_to_a_terminal_of_the_host(
    host: Host, pod: str, terminal: tuple[int, str]
):
    ours, _ = terminal
    assert sh(host, "typed", "stty -F /proc/1/fd/0 size") == "33 111\n"
    os.write(ours, b"something\r")
    shown = b""
    while b"got something\r\n" not in shown:
        assert select.select([ours], [], [], PATIENCE)[0], shown
        shown += os.read(ours, 4096)
    assert shown.count(b"something") == 2, "only the guest's terminal echoes"


def test_a_readonly_root_file_system_cannot_be_written(host: Host, pod: str):
    assert sh(host, "bound", "touch /x 2>/dev/null || echo no") == "no\n"
    assert sh(host, "plain", "touch /x && echo yes") == "yes\n"


def test_host_folders_and_files_are_mounted(host: Host, pod: str):
    assert sh(host, "plain", "cat /given/file /given/rw/inner") == "from the host\ninner\n"
    shown = {one["destination"]: one for one in host.container("fields", "plain")["mounts"]}
    assert Path(shown["/given/file"]["host_path"]).read_text() == "from the host\n"
    assert Path(shown["/given/rw"]["host_path"], "inner").read_text() == "inner\n"
    assert (shown["/given/ro"]["read_only"], shown["/scratch"]["host_path"]) == (True, "")
    sh(host, "plain", "echo written > /given/rw/new")
    assert Path(host.root / "site" / "folder" / "new").read_text() == "written\n"
    assert sh(host, "plain", "echo x > /given/ro/inner 2>/dev/null || cat /given/ro/new") == (
        "written\n"
    )


def test_a_debugged_agent_logs_what_it_is_asked(host: Host, pod: str):
    assert "agent.log=debug" in sh(host, "plain", "cat /proc/cmdline").split()
    assert host.run("container", "exec", pod, "plain", "--", "no-such-program").returncode == 127
    wait_until(
        lambda: re.search(r" debug .*no-such-program", host.do("logs", pod, "--source", "agent")),
        "the agent's words on a command that it did not find",
    )


def test_without_a_network_there_is_the_loopback_device_only(host: Host, pod: str):
    assert sh(host, "plain", "ls /sys/class/net") == "lo\n"


def test_a_tmpfs_has_its_options(host: Host, pod: str):
    assert sh(host, "plain", "stat -c %a /scratch") == "1777\n"
    kilobytes = sh(host, "plain", "df -k /scratch | awk 'NR == 2 {print $2}'")
    assert kilobytes == "1024\n"


def test_status_has_every_field_of_the_api(host: Host, pod: str):
    status = host.status(pod)
    assert status["annotations"] == {"org.example.pod": "yes"}
    assert (status["hypervisor"], status["agent"]) == ("qemu", "kata")
    assert (status["proxy"], status["shim"]) == ("kataBuiltInProxy", "kataBuiltInShim")
    assert status["agent_config"] == {"socket_type": "unix", "protocol": "auto", "debug": True}
    assert status["hypervisor_config"]["default_mem_sz"] == 700
    container = host.container(pod, "plain")
    assert container["annotations"] == {"org.example.container": "yes"}
    assert container["rootfs"] == "busybox"
    assert container["state"] == "running"
    assert container["pid"] == status["monitor_pid"]
    assert container["start_time"] >= status["created_time"]


def test_the_hypervisors_configuration_counts(host: Host, pod: str):
    """Also sizes, where the pod names none."""
    kernel = host.root / "my-vmlinux"
    shutil.copy(host.status(pod)["machine"]["kernel"], kernel)
    qemu = host.root / "my-qemu"
    qemu.symlink_to(str(shutil.which("qemu-system-x86_64")))
    host.do("pod", "delete", pod)
    keys = {
        "default_vcpus": 2,
        "default_mem_sz": 280,
        "debug": True,
        "kernel_path": str(kernel),
        "hypervisor_path": str(qemu),
        "hypervisor_machine_type": "pc",
        "hypervisor_params": [{"key": "smbios", "value": "type=1,product=from-the-pod"}],
        "machine_accelerators": "hpet=off",
        "mem_prealloc": True,
    }
    host.do("pod", "run", host.pod("sized", ("idle", "sleep 100000"), hypervisor_config=keys))
    machine = host.status("sized")["machine"]
    assert (machine["vcpus"], machine["memory"]) == (2, 280)
    assert machine["kernel"] == str(kernel)
    argv = Path(f"/proc/{machine['pid']}/cmdline").read_bytes().decode().split("\0")
    assert argv[0] == str(qemu)
    assert argv[argv.index("-machine") + 1].startswith("pc,")
    assert argv[argv.index("-machine") + 1].endswith("hpet=off")
    resident = Path(f"/proc/{machine['pid']}/statm").read_text().split()[1]
    assert int(resident) * os.sysconf("SC_PAGE_SIZE") >= 280 * 2**20
    name = "/sys/class/dmi/id/product_name"
    assert host.do("container", "exec", "sized", "idle", "--", "cat", name) == "from-the-pod\n"
    said = host.do("container", "exec", "sized", "idle", "--", "cat", "/proc/cpuinfo")
    assert said.count("processor\t:") == 2
    line = host.do("container", "exec", "sized", "idle", "--", "cat", "/proc/cmdline")
    assert "debug" in line.split()
    wait_until(lambda: host.do("logs", "sized", "--source", "console"), "the console's log")
    host.do("pod", "delete", "sized")
    assert host.left_over() == []
