"""Which root file systems are given to a machine as a disk, and which are shared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from vctui.drivers.storage import rootdisk
from vctui.drivers.storage.rootdisk import RootDisk
from vctui.errors import FileProblem, InvalidConfig
from vctui.linux.mountinfo import Mounted
from vctui.model.container import ContainerConfig
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import BlockDeviceDriver, MachineType

MICROVM = HypervisorConfig(hypervisor_machine_type=MachineType.MICROVM)
DISABLED = HypervisorConfig(disable_block_device_use=True)


def container(rootfs: object, **fields: object) -> ContainerConfig:
    return ContainerConfig(id="c1", rootfs=str(rootfs), **fields)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What an ext4 begins with."""
    file = tmp_path / "image"
    file.write_bytes(bytes(1080) + b"\x53\xef" + bytes(4096))
    return file


@pytest.fixture
def device(image: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the block device 7:9."""
    real = Path.stat

    def stat(self: Path, **how: bool) -> os.stat_result:
        found = real(self, **how)
        if self != image:
            return found
        numbers = {"st_rdev": os.makedev(7, 9)}
        return os.stat_result((0o060600, *found[1:]), numbers)

    monkeypatch.setattr(Path, "stat", stat)
    return image


@pytest.fixture
def loop(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /sys in which 7:9 is a loop device, and 8:1 a disk of the host."""
    sys = tmp_path / "sys"
    (sys / "devices/loop9/loop").mkdir(parents=True)
    (sys / "devices/sda1").mkdir()
    (sys / "dev/block").mkdir(parents=True)
    (sys / "dev/block/7:9").symlink_to("../../devices/loop9")
    (sys / "dev/block/8:1").symlink_to("../../devices/sda1")
    monkeypatch.setattr(rootdisk, "_detect", lambda device: "ext4")
    return sys


def test_a_device_is_given_with_its_file_system(device: Path):
    found = rootdisk.find(container(device), HypervisorConfig(), mounts=())
    assert found == RootDisk(device=device, filesystem="ext4")
    found = rootdisk.find(container(device, readonly_rootfs=True), HypervisorConfig(), mounts=())
    assert found == RootDisk(device=device, filesystem="ext4", read_only=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [(DISABLED, "disable_block_device_use is set"), (MICROVM, "a microvm takes only with")],
)
def test_a_device_is_refused_where_the_machine_takes_none(
    device: Path, config: HypervisorConfig, said: str
):
    with pytest.raises(InvalidConfig, match=said):
        rootdisk.find(container(device), config, mounts=())


def test_a_microvm_takes_a_disk_by_scsi(device: Path):
    config = HypervisorConfig(
        hypervisor_machine_type=MachineType.MICROVM,
        block_device_driver=BlockDeviceDriver.VIRTIO_SCSI,
    )
    assert rootdisk.find(container(device), config, mounts=()) is not None


@pytest.mark.parametrize(("read_only", "wanted"), [(False, False), (False, True), (True, False)])
def test_a_device_that_the_host_has_mounted_is_refused_where_one_of_them_writes(
    device: Path, read_only: bool, wanted: bool
):
    mounts = (Mounted((7, 9), "/", "/mnt", read_only),)
    with pytest.raises(FileProblem, match="is mounted on this host at /mnt; unmount it"):
        rootdisk.find(container(device, readonly_rootfs=wanted), HypervisorConfig(), mounts=mounts)


def test_a_device_that_nobody_writes_to_is_given(device: Path):
    mounts = (Mounted((7, 9), "/", "/mnt", read_only=True),)
    config = container(device, readonly_rootfs=True)
    assert rootdisk.find(config, HypervisorConfig(), mounts=mounts) is not None


def test_a_device_without_a_file_system_is_refused(device: Path):
    device.write_bytes(bytes(4096))
    with pytest.raises(FileProblem, match="cannot be used: it has no ext4, xfs"):
        rootdisk.find(container(device), HypervisorConfig(), mounts=())


def test_a_folder_of_a_loop_device_that_is_mounted_read_only_is_given(tmp_path: Path, loop: Path):
    (tmp_path / "mnt/below").mkdir(parents=True)
    point = str(tmp_path / "mnt")
    for path, root, folder in (
        ("mnt", "/", ""),
        ("mnt/below", "/", "below"),
        ("mnt/below", "/of/it", "of/it/below"),
    ):
        mounts = (Mounted((8, 1), "/", "/", False), Mounted((7, 9), root, point, True))
        found = rootdisk.find(
            container(tmp_path / path), HypervisorConfig(), mounts=mounts, sys=loop
        )
        assert found == RootDisk(
            device=Path("/dev/loop9"), filesystem="ext4", folder=folder, read_only=True
        )
        for config in (DISABLED, MICROVM):
            again = rootdisk.find(container(tmp_path / path), config, mounts=mounts, sys=loop)
            assert again is None


@pytest.mark.parametrize(
    "mounts",
    [
        (Mounted((7, 9), "/", "/", False),),
        (Mounted((7, 9), "/", "/", True), Mounted((7, 9), "/", "/elsewhere", False)),
        (Mounted((8, 1), "/", "/", True),),
        (),
    ],
)
def test_other_folders_are_shared(tmp_path: Path, loop: Path, mounts: tuple[Mounted, ...]):
    """Those that the host may write to, and those on the host's own disks."""
    found = rootdisk.find(container(tmp_path), HypervisorConfig(), mounts=mounts, sys=loop)
    assert found is None


@pytest.mark.parametrize("rootfs", ["busybox", "/no/such/folder", ""])
def test_what_is_no_path_is_shared(rootfs: str):
    assert rootdisk.find(container(rootfs), HypervisorConfig(), mounts=()) is None


@pytest.mark.root
def test_partitions_are_named(tmp_path: Path):
    table = bytearray(4096)
    table[510:512] = b"\x55\xaa"
    table[446:462] = bytes([0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0])
    image = tmp_path / "disk"
    image.write_bytes(bytes(table) + bytes(1080 - 4096 + 512 + 4096) + b"\x53\xef" + bytes(4096))
    file = image.read_bytes()
    start = 512 + 1080
    image.write_bytes(file[:start] + b"\x53\xef" + file[start + 2 :])
    done = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs a loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        with pytest.raises(FileProblem, match="name the device of its partition 1"):
            rootdisk.find(container(device), HypervisorConfig(), mounts=())
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
