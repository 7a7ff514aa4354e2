"""Root file systems on block devices, on real machines."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until
from vctui.image.rootfs import rootfs_template
from vctui.settings import load

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes loop devices with the built-in root file system in a folder of an ext4."""
    if not shutil.which("mkfs.ext4"):
        pytest.skip("needs mkfs.ext4: apt-get install e2fsprogs")
    made: list[str] = []
    template = rootfs_template(load(), "busybox")

    def attach(name: str) -> str:
        file, content = tmp_path / name, tmp_path / f"{name}.d"
        shutil.copytree(template, content, symlinks=True)
        (content / "name").write_text(name)
        words = ["mkfs.ext4", "-q", "-d", str(content), str(file), "16M"]
        subprocess.run(words, check=True, capture_output=True)
        words = ["losetup", "--find", "--show", str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs a loop device: {done.stderr.strip()}")
        made.append(done.stdout.strip())
        return made[-1]

    yield attach
    subprocess.run(["umount", "--quiet", str(tmp_path / "mnt")], check=False)
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=True)


def container(name: str, rootfs: str, *args: str) -> dict[str, Any]:
    return {"id": name, "rootfs": rootfs, "cmd": {"args": args or ("sleep", "100000")}}


def sh(host: Host, pod: str, name: str, script: str) -> str:
    return host.do("container", "exec", pod, name, "--", "sh", "-c", script)


@pytest.mark.parametrize(
    ("machine_type", "driver"), [("q35", "virtio-blk"), ("microvm", "virtio-scsi")]
)
def test_a_root_file_system_on_a_device_is_a_disk_of_the_guest(
    host: Host, disk: Callable[[str], str], tmp_path: Path, machine_type: str, driver: str
):
    def disks() -> set[str]:
        return set(sh(host, pod, "other", "ls /sys/block").split()) - {"loop0", "ram0"}

    pod = f"roots-{machine_type}"
    device, mounted = disk("first"), disk("second")
    point = tmp_path / "mnt"
    point.mkdir()
    subprocess.run(["mount", "-o", "ro", mounted, str(point)], check=True)
    document = {
        "id": pod,
        "hypervisor_config": {
            "hypervisor_machine_type": machine_type,
            "block_device_driver": driver,
        },
        "containers": [
            container("main", device),
            container("folder", str(point)),
            container("other", "busybox"),
        ],
    }
    host.do("pod", "run", host.file(f"{pod}.json", json.dumps(document)))
    root = "grep ' / ' /proc/mounts | cut -d ' ' -f 3,4; cat /name"
    assert sh(host, pod, "main", root).startswith("ext4 rw,")
    assert sh(host, pod, "main", "cat /name") == "first"
    assert sh(host, pod, "folder", root).startswith("ext4 ro,")
    assert sh(host, pod, "folder", "cat /name") == "second"
    (told,) = host.container(pod, "main")["devices"]
    assert (told["container_path"], told["host_path"], told["hotplugged"]) == ("/", device, True)
    assert len(disks()) == 2

    sh(host, pod, "main", "echo written in the guest > /file")
    host.do("container", "stop", pod, "main")
    assert host.container(pod, "main")["devices"] == []
    assert len(disks()) == 1
    # unmounted in the guest before it went: nothing is left to be repaired
    subprocess.run(["e2fsck", "-fn", device], check=True, capture_output=True)
    # nobody else has it: the host may mount it
    taken = tmp_path / "taken"
    taken.mkdir()
    subprocess.run(["mount", device, str(taken)], check=True)
    assert (taken / "file").read_text() == "written in the guest\n"
    error = host.refuse("container", "start", pod, "main")
    assert error["kind"] == "file"
    assert f"is mounted on this host at {taken}" in error["message"]
    subprocess.run(["umount", str(taken)], check=True)

    host.do("container", "start", pod, "main")
    assert sh(host, pod, "main", "cat /file") == "written in the guest\n"
    host.do("container", "kill", pod, "main", "--signal", "KILL")
    wait_until(lambda: host.container(pod, "main")["state"] == "stopped", "its end")
    host.do("container", "delete", pod, "main")
    host.do("container", "stop", pod, "folder")
    assert disks() == set()
    host.do("pod", "delete", pod)


def test_block_devices_can_be_kept_from_the_machine(
    host: Host, disk: Callable[[str], str], tmp_path: Path
):
    point = tmp_path / "mnt"
    point.mkdir()
    device = disk("one")
    subprocess.run(["mount", "-o", "ro", device, str(point)], check=True)
    document = {
        "id": "kept",
        "hypervisor_config": {"disable_block_device_use": True},
        "containers": [container("main", str(point))],
    }
    host.do("pod", "run", host.file("kept.json", json.dumps(document)))
    assert sh(host, "kept", "main", "grep ' / ' /proc/mounts | cut -d ' ' -f 3") == "9p\n"
    assert host.container("kept", "main")["devices"] == []
    error = host.refuse(
        "container", "create", "kept", host.file("c.json", json.dumps(container("c2", device)))
    )
    assert "disable_block_device_use is set" in error["message"]
    host.do("pod", "delete", "kept")


def open_in(pid: int, device: str) -> bool:
    """Whether a process has the device open."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except OSError:
            continue
    return device in links


def test_an_engine_killed_while_it_plugs_or_unplugs_leaves_no_disk(
    host: Host, disk: Callable[[str], str]
):
    device = disk("main")
    document = {"id": "cut", "containers": [container("other", "busybox")]}
    host.do("pod", "run", host.file("cut.json", json.dumps(document)))
    pid = host.status("cut")["machine"]["pid"]
    host.do("container", "create", "cut", host.file("c.json", json.dumps(container("c1", device))))

    starting = host.start("container", "start", "cut", "c1")
    wait_until(lambda: open_in(pid, device), "QEMU to open the disk")
    starting.kill()
    starting.communicate(timeout=20)
    assert host.status("cut")["operation"] == ""
    told = host.container("cut", "c1")
    assert (told["state"], told["devices"]) == ("stopped", [])
    assert not open_in(pid, device)

    host.do("container", "start", "cut", "c1")
    sh(host, "cut", "c1", "echo kept > /file")
    stopping = host.start("container", "stop", "cut", "c1")
    wait_until(
        lambda: host.ask("pod", "list")[0]["operation"] or stopping.poll() is not None,
        "the stop to begin",
    )
    stopping.kill()
    stopping.communicate(timeout=20)
    told = host.container("cut", "c1")
    assert (told["state"], told["devices"]) == ("stopped", [])
    assert not open_in(pid, device)
    assert host.status("cut")["state"] == "running"
    subprocess.run(["e2fsck", "-fn", device], check=True, capture_output=True)

    host.do("container", "start", "cut", "c1")
    assert sh(host, "cut", "c1", "cat /file") == "kept\n"
    host.do("pod", "delete", "cut")
