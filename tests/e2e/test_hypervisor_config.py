"""Fields of hypervisor_config, seen from inside the guest, or on the host's QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until
from tests.image.reading import read_archive
from vctui import settings
from vctui.drivers.hypervisors.qemu import qmp
from vctui.image import builder
from vctui.linux import mounts, probe
from vctui.model.assets import PREFIX

pytestmark = pytest.mark.vm

IDLE = ("idle", "sleep 100000")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
MIB = 1024 * 1024
BRIDGE_CLASS = "0x060400"
FIRMWARES = tuple(
    Path("/usr/share", folder, name)
    for folder in ("seabios", "qemu")
    for name in ("bios-256k.bin", "bios.bin")
)


@contextlib.contextmanager
def running(host: Host, pod_id: str, hypervisor: dict[str, Any], **keys: Any) -> Iterator[str]:
    """A pod of one idle container, for the length of the block."""
    host.do("pod", "run", host.pod(pod_id, IDLE, hypervisor_config=hypervisor, **keys))
    try:
        yield pod_id
    finally:
        host.do("pod", "delete", pod_id)


def inside(host: Host, pod_id: str, script: str) -> str:
    return host.do("container", "exec", pod_id, "idle", "--", "/bin/sh", "-c", script)


def qemu(host: Host, pod_id: str) -> Path:
    """The machine's folder in the host's /proc."""
    pid: int = host.status(pod_id)["machine"]["pid"]
    return Path("/proc", str(pid))


@pytest.mark.parametrize("machine_type", ["q35", "pc"])
def test_bridges_are_in_the_guest_and_the_kernel_has_its_parameters(host, machine_type):
    config = {
        "hypervisor_machine_type": machine_type,
        "default_bridges": 2,
        "default_vcpus": 2,
        "default_mem_sz": 320,
        "kernel_params": [{"key": "vctui.test", "value": "here"}],
    }
    with running(host, f"bridges-{machine_type}", config) as pod:
        classes = inside(host, pod, "cat /sys/bus/pci/devices/*/class").split()
        # a root port is a bridge, too
        assert classes.count(BRIDGE_CLASS) == (4 if machine_type == "q35" else 2)
        assert inside(host, pod, "cat /proc/cmdline").split()[-1] == "vctui.test=here"
        assert inside(host, pod, "grep -c ^processor /proc/cpuinfo").strip() == "2"
        total = int(inside(host, pod, "grep MemTotal /proc/meminfo").split()[1])
        assert 220 * 1024 < total < 320 * 1024


def plug(host: Host, pod_id: str, *commands: tuple[str, dict[str, object]]) -> list[Any]:
    """Answers of QEMU's control socket."""

    async def ask() -> list[Any]:
        async with qmp.connect(host.root / "run" / "pods" / pod_id / "ctl.sock") as session:
            return [await session.execute(name, arguments) for name, arguments in commands]

    return asyncio.run(ask())


def test_what_is_plugged_in_while_the_machine_runs_is_seen_by_the_guest(host):
    """A device behind the bridge, and a processor where the host has one to spare."""
    with running(host, "growing", {}, vm_config={"vcpus": 1, "memory": 256}) as pod:
        bridged = {"driver": "virtio-rng-pci", "id": "dice", "bus": "pci-bridge-0", "addr": "0x1e"}
        plug(host, pod, ("device_add", bridged))
        slot = "ls /sys/bus/pci/devices | grep -c ':1e.0$' || :"
        wait_until(lambda: int(inside(host, pod, slot)) == 1, "the device in slot 30")
        [places] = plug(host, pod, ("query-hotpluggable-cpus", {}))
        free = [place for place in places if "qom-path" not in place]
        assert len(places) == max(1, min(os.cpu_count() or 1, 16))
        if free:
            processor = {"driver": free[-1]["type"], "id": "cpu-1", **free[-1]["props"]}
            plug(host, pod, ("device_add", processor))
            present = "cat /sys/devices/system/cpu/present"
            wait_until(lambda: inside(host, pod, present).strip() != "0", "the processor")


def test_locked_memory_and_preallocated_memory_are_in_the_hosts_ram(host):
    """mlock is for root, or for whom RLIMIT_MEMLOCK allows it."""
    if os.geteuid() != 0:
        pytest.skip("needs root on the host to lock memory")
    config = {"realtime": True, "mlock": True, "mem_prealloc": True}
    with running(host, "locked", config, vm_config={"memory": 256}) as pod:
        status = (qemu(host, pod) / "status").read_text()
        facts = dict(line.split(":", 1) for line in status.splitlines())
        assert int(facts["VmLck"].split()[0]) > 256 * 1024
        assert int(facts["VmRSS"].split()[0]) > 256 * 1024


def test_the_machine_has_the_firmware_of_the_file(host, tmp_path):
    """A SeaBIOS that calls itself by a number of ours, which it tells the guest."""
    firmware = next((path for path in FIRMWARES if path.is_file()), None)
    if firmware is None:
        pytest.skip("needs a SeaBIOS image: apt-get install seabios")
    copy = tmp_path / "firmware.bin"
    usual = re.search(rb"[0-9]\.[0-9]+\.[0-9]+-[!-~]+\0|rel-[0-9][!-~]+\0", firmware.read_bytes())
    assert usual, f"{firmware} does not say its version"
    ours = b"vctui-test".ljust(len(usual[0]), b"\0")
    copy.write_bytes(firmware.read_bytes().replace(usual[0], ours))
    with running(host, "firmware", {"firmware_path": str(copy)}) as pod:
        assert inside(host, pod, "cat /sys/class/dmi/id/bios_version") == "vctui-test\n"


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory, guest_cache: Path) -> Path:
    """A folder with the built guest's root as ext4: `whole.img` without partitions, `part.img` with
    one, and made for an NVDIMM."""
    if not shutil.which("mke2fs", path=PATH):
        pytest.skip("needs mke2fs: apt-get install e2fsprogs")
    folder = tmp_path_factory.mktemp("disks")
    guest = builder.current_guest(settings.load(overrides={"cache_dir": str(guest_cache)}))
    for name, node in read_archive(Path(guest.initrd).read_bytes()).items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(node.mode):
            path.mkdir(exist_ok=True)
        elif stat.S_ISLNK(node.mode):
            path.symlink_to(node.data.decode())
        elif stat.S_ISREG(node.mode):
            path.write_bytes(node.data)
            path.chmod(stat.S_IMODE(node.mode))
    whole, part = folder / "whole.img", folder / "part.img"
    words = ("-q", "-t", "ext4", "-b", "4096", "-d", str(folder / "tree"), str(whole), "64M")
    subprocess.run(["mke2fs", *words], env={**os.environ, "PATH": PATH}, check=True)
    table = partition_table(first=2 * MIB)
    dax = partition_table(first=4 * MIB) + bytes(4096 - 512) + nvdimm_superblock(offset=2 * MIB)
    part.write_bytes(dax.ljust(2 * MIB, b"\0") + table.ljust(2 * MIB, b"\0") + whole.read_bytes())
    return folder


def partition_table(*, first: int) -> bytes:
    """Of one partition, which begins at byte `first`."""
    entry = struct.pack("<B3xB3xII", 0, 0x83, first // 512, 64 * MIB // 512)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def nvdimm_superblock(*, offset: int) -> bytes:
    """What makes the kernel map an NVDIMM from byte `offset` on (`struct nd_pfn_sb`): version 1.4,
    pages of 4 KiB described in RAM, aligned to 2 MiB."""
    pages = 64 * MIB // 4096
    fields = (b"NVDIMM_PFN_INFO\0", 0, 1, 4, offset, pages, 1, 0, 0, 2 * MIB, 4096, 64)
    block = struct.pack("<16s32xIHHQQIIIIIH", *fields).ljust(4096 - 8, b"\0")
    low = high = 0
    for word in struct.unpack("<1022I", block):  # Fletcher's checksum, itself taken as 0
        low = (low + word) % 2**32
        high += low
    for _ in range(2):
        high += low
    return block + struct.pack("<Q", (high << 32 | low) % 2**64)


INIT = {"kernel_params": [{"key": "init", "value": "/init"}]}


def test_an_image_with_a_partition_is_the_guests_disk(host, disks):
    before = (disks / "part.img").read_bytes()
    with running(host, "disk", {"image_path": str(disks / "part.img"), **INIT}) as pod:
        assert "root=/dev/vda1" in inside(host, pod, "cat /proc/cmdline")
        assert inside(host, pod, "cat /sys/block/vda/ro").strip() == "1"
        console = host.do("logs", pod, "--source", "console")
        assert "EXT4-fs (vda1): mounted" in console
        assert host.status(pod)["machine"]["image"] == str(disks / "part.img")
    assert (disks / "part.img").read_bytes() == before


def test_a_microvm_boots_without_pci_and_its_clock_is_right(host, disks):
    config = {"hypervisor_machine_type": "microvm", "image_path": str(disks / "part.img"), **INIT}
    with running(host, "micro", config) as pod:
        assert "LNRO0005" in inside(host, pod, "ls /sys/bus/acpi/devices")
        assert inside(host, pod, "ls /sys/bus/pci/devices 2>&1 | grep -c ^0 || :").strip() == "0"
        console = host.do("logs", pod, "--source", "console")
        assert "EXT4-fs (vda1): mounted" in console
        # which clock it is that a second is measured with matters less than that it runs right
        began, before = time.monotonic(), float(inside(host, pod, "cat /proc/uptime").split()[0])
        inside(host, pod, "sleep 2")
        after = float(inside(host, pod, "cat /proc/uptime").split()[0])
        passed = time.monotonic() - began
        assert 2.0 <= after - before < passed
        assert host.do("pod", "stop", pod)
    with running(host, "micro-initrd", {"hypervisor_machine_type": "microvm"}) as pod:
        assert inside(host, pod, "echo booted") == "booted\n"


def test_a_kernel_that_an_annotation_names_is_booted_while_it_has_its_hash(host, tmp_path):
    kernel = tmp_path / "vmlinux"
    guest = builder.current_guest(settings.load())
    kernel.write_bytes(Path(guest.kernel).read_bytes())
    annotations = {
        f"{PREFIX}KernelPath": str(kernel),
        f"{PREFIX}KernelHash": hashlib.sha512(kernel.read_bytes()).hexdigest(),
    }
    with running(host, "asset", {}, annotations=annotations) as pod:
        assert str(kernel).encode() in (qemu(host, pod) / "cmdline").read_bytes().split(b"\0")
        assert host.status(pod)["machine"]["kernel"] == str(kernel)
        host.do("pod", "stop", pod)
        with kernel.open("ab") as file:
            file.write(b"x")
        assert "another SHA-512" in host.refuse("pod", "start", pod)["message"]


@pytest.mark.parametrize(("image", "device"), [("whole.img", "pmem0"), ("part.img", "pmem0p1")])
def test_an_image_is_an_nvdimm_of_the_guest(host, disks, image, device):
    config = {"image_path": str(disks / image), "machine_accelerators": "nvdimm", **INIT}
    with running(host, device, config) as pod:
        words = inside(host, pod, "cat /proc/cmdline").split()
        assert f"root=/dev/{device}" in words
        # with this ext4 mounts what can be mapped, and refuses everything else
        assert ("rootflags=dax" in words) == (image == "part.img")
        assert f"EXT4-fs ({device}): mounted" in host.do("logs", pod, "--source", "console")


def test_a_guest_has_an_image_or_an_initrd(host, disks):
    config = {"image_path": str(disks / "whole.img"), "initrd_path": str(disks / "whole.img")}
    error = host.refuse("pod", "create", host.pod("no", IDLE, hypervisor_config=config))
    assert error["kind"] == "invalid-config"
    assert "leave one of them out" in error["message"]


@pytest.fixture
def huge_pages(tmp_path: Path) -> Iterator[None]:
    """256 MiB of huge pages, given back after the test."""
    number = Path("/proc/sys/vm/nr_hugepages")
    before = number.read_text()
    folder = tmp_path / "hugepages"
    folder.mkdir()
    try:
        mounts.mount("none", str(folder), "hugetlbfs")
        number.write_text("128")
        if int(number.read_text()) < 128:
            pytest.skip("needs 256 MiB of free huge pages")
        yield
    except PermissionError:
        pytest.skip("needs a host that lets root reserve huge pages")
    finally:
        number.write_text(before)
        mounts.unmount(str(folder))


@pytest.mark.root
def test_memory_comes_from_huge_pages(host, huge_pages):
    with running(host, "huge", {"huge_pages": True}, vm_config={"memory": 256}) as pod:
        status = (qemu(host, pod) / "status").read_text()
        facts = dict(line.split(":", 1) for line in status.splitlines())
        assert int(facts["HugetlbPages"].split()[0]) == 256 * 1024
        assert inside(host, pod, "echo booted") == "booted\n"


def test_a_host_without_huge_pages_refuses_them(host):
    there = probe.huge_pages()
    if there.folder is not None and there.free_mib >= 256:
        pytest.skip("needs a host without free huge pages")
    config = {"huge_pages": True}
    error = host.refuse("pod", "create", host.pod("no", IDLE, hypervisor_config=config))
    assert error["kind"] == "host"
    assert "huge_pages" in error["message"]


def test_memory_is_not_locked_without_realtime(host):
    error = host.refuse("pod", "create", host.pod("no", IDLE, hypervisor_config={"mlock": True}))
    assert error["kind"] == "invalid-config"
    assert "realtime" in error["message"]
