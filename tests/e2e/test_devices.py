"""Devices of containers on a real machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until

pytestmark = pytest.mark.vm


def container(name: str, *devices: dict[str, Any]) -> dict[str, Any]:
    cmd = {"args": ["sleep", "100000"]}
    return {"id": name, "rootfs": "busybox", "cmd": cmd, "device_infos": devices}


def sh(host: Host, pod: str, name: str, script: str) -> str:
    return host.do("container", "exec", pod, name, "--", "sh", "-c", script)


def test_character_devices_and_fifos_are_there_with_owner_and_mode(host: Host):
    devices = (
        {"container_path": "/dev/nothing", "major": 1, "minor": 3, "file_mode": 0o640, "uid": 7},
        {"container_path": "/dev/below/zeros", "host_path": "/dev/zero", "gid": 8},
        {"container_path": "/dev/messages", "dev_type": "u", "major": 1, "minor": 11},
        {"container_path": "/dev/pipe", "dev_type": "p", "file_mode": 0o622},
    )
    document = {"id": "chars", "containers": [container("main", *devices), container("none")]}
    host.do("pod", "run", host.file("chars.json", json.dumps(document)))
    paths = " ".join(str(each["container_path"]) for each in devices)
    assert sh(host, "chars", "main", f"stat -c '%n %F %a %u %g %t:%T' {paths}").splitlines() == [
        "/dev/nothing character special file 640 7 0 1:3",
        "/dev/below/zeros character special file 666 0 8 1:5",
        "/dev/messages character special file 666 0 0 1:b",
        "/dev/pipe fifo 622 0 0 0:0",
    ]
    said = sh(host, "chars", "main", "head -c 4 /dev/below/zeros | hexdump -C | head -1")
    assert "00 00 00 00" in said
    # the kernel's log may be written to by who was given it, and by nobody else
    sh(host, "chars", "main", "echo said by main > /dev/messages")
    made = "mknod /dev/messages c 1 11 && echo said by none > /dev/messages"
    refused = host.run("container", "exec", "chars", "none", "--", "sh", "-c", made)
    assert "Operation not permitted" in refused.stderr
    host.do("pod", "delete", "chars")


def test_a_device_that_the_host_lacks_is_refused(host: Host):
    bad = container("main", {"container_path": "/dev/x", "host_path": "/dev/no-such"})
    document = host.file("bad.json", json.dumps({"id": "bad", "containers": [bad]}))
    error = host.refuse("pod", "create", document)
    assert error["kind"] == "file"
    assert "'/dev/no-such' cannot be used: No such file" in error["message"]
    assert "bad" not in [one["id"] for one in host.ask("pod", "list")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes block devices of the host: loop devices on files with a text at their beginning."""
    made: list[str] = []

    def attach(text: str) -> str:
        file = tmp_path / text
        file.write_bytes(text.encode().ljust(1024 * 1024, b"\0"))
        words = ["losetup", "--find", "--show", str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs a loop device: {done.stderr.strip()}")
        made.append(done.stdout.strip())
        return made[-1]

    yield attach
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.root
@pytest.mark.parametrize(
    ("machine_type", "driver", "prefix"),
    [("q35", "virtio-blk", "vd"), ("pc", "virtio-blk", "vd"), ("microvm", "virtio-scsi", "sd")],
)
def test_a_block_device_is_plugged_in_for_its_container(
    host: Host,
    disk: Callable[[str], str],
    tmp_path: Path,
    machine_type: str,
    driver: str,
    prefix: str,
):
    def disks(name: str = "other") -> set[str]:
        return set(sh(host, pod, name, "ls /sys/block").split()) - {"loop0", "ram0"}

    pod = f"blocks-{machine_type}"
    first, second = disk("first"), disk("second")
    devices = (
        {
            "container_path": "/dev/data",
            "dev_type": "b",
            "host_path": first,
            "file_mode": 0o640,
            "uid": 7,
            "gid": 8,
        },
        {"container_path": "/dev/more/data", "dev_type": "b", "host_path": second},
    )
    document = {
        "id": pod,
        "hypervisor_config": {
            "hypervisor_machine_type": machine_type,
            "block_device_driver": driver,
        },
        "containers": [container("main", *devices), container("other")],
    }
    host.do("pod", "run", host.file(f"{pod}.json", json.dumps(document)))
    assert sh(host, pod, "main", "stat -c '%F %a %u %g' /dev/data") == (
        "block special file 640 7 8\n"
    )
    assert sh(host, pod, "main", "head -c 5 /dev/data; head -c 6 /dev/more/data") == "firstsecond"
    sh(host, pod, "main", "printf guest | dd of=/dev/data bs=1 seek=4096 conv=notrunc,fsync")
    assert (tmp_path / "first").read_bytes()[4096:4101] == b"guest"
    assert disks() == {f"{prefix}a", f"{prefix}b"}
    told = host.container(pod, "main")["devices"]
    assert [(one["container_path"], one["hotplugged"]) for one in told] == [
        ("/dev/data", True),
        ("/dev/more/data", True),
    ]
    assert all(one["id"].startswith("drive-") for one in told)

    # nobody else may open it, though the kernel has it
    made = f"mknod /dev/data b $(tr : ' ' < /sys/block/{prefix}a/dev) && head -c 5 /dev/data"
    refused = host.run("container", "exec", pod, "other", "--", "sh", "-c", made)
    assert "Operation not permitted" in refused.stderr

    host.do("container", "stop", pod, "main")
    assert disks() == set()
    assert host.container(pod, "main")["devices"] == []
    host.do("container", "start", pod, "main")
    assert sh(host, pod, "main", "head -c 5 /dev/data") == "first"
    host.do("container", "stop", pod, "main")
    host.do("container", "delete", pod, "main")

    short = {**container("short", devices[1]), "cmd": {"args": ["head", "-c", "6", "/dev/data"]}}
    short["device_infos"][0]["container_path"] = "/dev/data"
    host.do("container", "create", pod, host.file("short.json", json.dumps(short)))
    host.do("container", "start", pod, "short")
    wait_until(lambda: host.container(pod, "short")["state"] == "stopped", "the end of `head`")
    assert "second" in host.do("logs", pod, "short")
    host.do("container", "delete", pod, "short")
    assert disks() == set()
    host.do("pod", "delete", pod)


@pytest.mark.root
def test_a_block_device_that_is_in_use_is_refused_and_nothing_is_left(
    host: Host, disk: Callable[[str], str]
):
    device = {"container_path": "/dev/data", "dev_type": "b", "host_path": disk("one")}
    document = {"id": "users", "containers": [container("main", device), container("other")]}
    host.do("pod", "run", host.file("users.json", json.dumps(document)))
    second = host.file("second.json", json.dumps(container("second", device)))
    host.do("container", "create", "users", second)
    error = host.refuse("container", "start", "users", "second")
    assert error["kind"] == "hypervisor"
    told = host.container("users", "second")
    assert (told["state"], told["devices"]) == ("ready", [])
    assert sh(host, "users", "main", "head -c 3 /dev/data") == "one"
    assert sh(host, "users", "other", "ls /sys/block").split().count("vdb") == 0
    host.do("pod", "delete", "users")


def test_a_device_of_vfio_needs_its_iommu_group(host: Host):
    device = {"container_path": "/dev/vfio/99", "host_path": "/dev/vfio/99"}
    document = {"id": "vfio", "containers": [container("main", device)]}
    error = host.refuse("pod", "create", host.file("vfio.json", json.dumps(document)))
    assert error["kind"] == "host"
    assert "needs the IOMMU group '99', which this host does not have" in error["message"]
