"""IOMMU groups: what of one a machine is given, and who may not have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vctui.drivers.devices import vfio
from vctui.errors import FileProblem, HostProblem, PermissionProblem
from vctui.model.device import DeviceInfo

GROUP = DeviceInfo(container_path="/dev/vfio/7", host_path="/dev/vfio/7")


class Tree:
    """A /sys with IOMMU groups, and the nodes of /dev."""

    def __init__(self, root: Path) -> None:
        self.sys, self.dev = root / "sys", root / "dev"
        (self.dev / "vfio").mkdir(parents=True)

    def add(self, name: str, *, group: str = "7", driver: str = "", kind: str = "0x020000") -> None:
        device = self.sys / "devices" / name
        device.mkdir(parents=True)
        (device / "class").write_text(f"{kind}\n")
        if driver:
            (self.sys / "bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
            (device / "driver").symlink_to(self.sys / "bus/pci/drivers" / driver)
        members = self.sys / "kernel/iommu_groups" / group / "devices"
        members.mkdir(parents=True, exist_ok=True)
        (members / name).symlink_to(device)
        (self.dev / "vfio" / group).touch()

    def functions(self, info: DeviceInfo = GROUP) -> tuple[str, ...]:
        return vfio.functions(info, sys=self.sys, dev=self.dev)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/dev/vfio/7", True),
        ("/dev/vfio/vfio", False),
        ("/dev/vfio/vfio2", False),
        ("/dev/vfio", False),
        ("/dev/sda", False),
        ("", False),
    ],
)
def test_groups_are_told_from_other_devices(path: str, group: bool):
    assert vfio.is_group(DeviceInfo(container_path="/dev/x", host_path=path)) is group


def test_all_of_a_group_is_given_but_its_bridges(tree: Tree):
    tree.add("0000:01:00.1", driver="vfio-pci")
    tree.add("0000:01:00.0", driver="vfio-pci")
    tree.add("0000:00:01.0", driver="pcieport", kind="0x060400")
    tree.add("0000:02:00.0", group="8", driver="nvme")
    assert tree.functions() == ("0000:01:00.0", "0000:01:00.1")


@pytest.mark.parametrize("name", ["7", "99", "..", "", "x"])
def test_a_group_that_the_host_lacks_is_refused(tree: Tree, name: str):
    info = DeviceInfo(container_path="/dev/x", host_path=f"/dev/vfio/{name}")
    with pytest.raises(HostProblem, match="switch the IOMMU on"):
        tree.functions(info)


@pytest.mark.parametrize(
    ("driver", "said"), [("nvme", "bound to nvme"), ("", "bound to no driver")]
)
def test_a_device_that_the_host_uses_is_refused(tree: Tree, driver: str, said: str):
    tree.add("0000:01:00.0", driver="vfio-pci")
    tree.add("0000:01:00.1", driver=driver)
    with pytest.raises(HostProblem, match=f"0000:01:00.1 of the IOMMU group 7 is {said}; run"):
        tree.functions()


def test_what_is_no_pci_device_is_refused(tree: Tree):
    tree.add("a4000000.ethernet", driver="vfio-pci")
    with pytest.raises(FileProblem, match="is no PCI device"):
        tree.functions()


def test_a_group_of_bridges_is_refused(tree: Tree):
    tree.add("0000:00:01.0", kind="0x060400")
    with pytest.raises(FileProblem, match="the IOMMU group 7 is empty"):
        tree.functions()


def test_a_group_that_we_may_not_open_is_refused(tree: Tree):
    tree.add("0000:01:00.0", driver="vfio-pci")
    (tree.dev / "vfio/7").unlink()
    with pytest.raises(PermissionProblem, match="cannot be opened; run vctui as root"):
        tree.functions()
