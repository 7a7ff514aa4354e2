"""Network cards of the host and vhost-user sockets: found, bound, given back. Without hardware:
sysfs is a folder of the test's."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from vctui.drivers.endpoints import physical, scan, vhost_user
from vctui.drivers.endpoints.physical import Physical
from vctui.drivers.endpoints.vhost_user import VhostUser
from vctui.errors import HostProblem
from vctui.linux import ethtool
from vctui.linux.links import Link
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Endpoint, Interface, NetworkConfig, PhysicalDevice

BDF = "0000:03:00.0"
CARD = PhysicalDevice(bdf=BDF, driver="ixgbe", vendor_device="0x8086 0x10fb")
ETH0 = Link(
    index=2,
    name="eth0",
    kind="",
    mac="02:00:00:00:00:02",
    mtu=1500,
    master=0,
    loopback=False,
    queue_length=1000,
    is_tap=False,
    addresses=("10.0.0.2/24",),
)


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """A card that the driver ixgbe has, in an IOMMU group, on a host with vfio-pci."""
    root = tmp_path / "sys"
    device = root / "bus/pci/devices" / BDF
    for driver in ("ixgbe", "vfio-pci"):
        (root / "bus/pci/drivers" / driver).mkdir(parents=True)
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x8086\n")
    (device / "device").write_text("0x10fb\n")
    members = root / "kernel/iommu_groups/7/devices"
    members.mkdir(parents=True)
    (members / BDF).symlink_to(device)
    (device / "iommu_group").symlink_to(members.parent)
    (device / "driver_override").write_text("(null)\n")
    (device / "driver").symlink_to(root / "bus/pci/drivers/ixgbe")
    return root


def endpoint(**values: object) -> Endpoint:
    return Endpoint(
        index=0,
        interface=Interface(name="eth0", mac=ETH0.mac, mtu=1500, addresses=ETH0.addresses),
        model=NetInterworkingModel.TC_FILTER,
        **{"type": EndpointType.PHYSICAL, "physical": CARD, **values},  # type: ignore[arg-type]
    )


def test_a_card_is_told_by_its_place_on_the_bus(sys: Path, monkeypatch: pytest.MonkeyPatch):
    info = {
        "eth0": ethtool.DriverInfo("ixgbe", BDF),
        "usb0": ethtool.DriverInfo("cdc_ether", "usb-0000:00:14.0-1"),
        "nowhere": ethtool.DriverInfo("dummy", ""),
    }
    monkeypatch.setattr(ethtool, "driver_info", info.get)
    assert physical.find("eth0", sys=sys) == CARD
    assert physical.find("usb0", sys=sys) is None
    assert physical.find("nowhere", sys=sys) is None
    assert physical.find("missing", sys=sys) is None


def test_the_loopback_device_tells_no_place():
    assert ethtool.driver_info("lo") in {None, ethtool.DriverInfo("", "")}
    assert ethtool.driver_info("no-such-link") is None


def test_a_card_goes_to_vfio_and_back(sys: Path):
    wiring, device = Physical(sys), sys / "bus/pci/devices" / BDF
    one = wiring.plan(endpoint(), ())
    wiring.connect(one)
    assert (device / "driver_override").read_text() == "vfio-pci\n"
    assert (sys / "bus/pci/drivers/ixgbe/unbind").read_text() == BDF
    assert (sys / "bus/pci/drivers_probe").read_text() == BDF
    (device / "driver").unlink()
    (device / "driver").symlink_to(sys / "bus/pci/drivers/vfio-pci")
    wiring.disconnect(one)
    assert (device / "driver_override").read_text() == "\n"
    assert (sys / "bus/pci/drivers/vfio-pci/unbind").read_text() == BDF


def test_a_card_that_nobody_got_is_given_back(sys: Path):
    """Whoever was binding it was killed in the middle."""
    device, unbind = sys / "bus/pci/devices" / BDF, sys / "bus/pci/drivers/ixgbe/unbind"
    (device / "driver_override").write_text("vfio-pci\n")
    Physical(sys).disconnect(endpoint())
    assert (device / "driver_override").read_text() == "\n"
    assert not unbind.exists()
    (device / "driver_override").write_text("vfio-pci\n")
    (device / "driver").unlink()
    (sys / "bus/pci/drivers_probe").unlink()
    Physical(sys).disconnect(endpoint())
    assert (device / "driver_override").read_text() == "\n"
    assert (sys / "bus/pci/drivers_probe").read_text() == BDF


def test_a_card_whose_group_the_host_uses_is_not_taken(sys: Path):
    other = sys / "bus/pci/devices/0000:03:00.1"
    other.mkdir()
    (other / "driver").symlink_to(sys / "bus/pci/drivers/ixgbe")
    (sys / "kernel/iommu_groups/7/devices" / other.name).symlink_to(other)
    with pytest.raises(HostProblem, match=r"group with 0000:03:00\.1, which is bound to ixgbe"):
        Physical(sys).connect(endpoint())
    assert not (sys / "bus/pci/drivers/ixgbe/unbind").exists()
    (other / "class").write_text("0x060400\n")
    Physical(sys).connect(endpoint())


def test_a_card_that_the_host_has_is_left_alone(sys: Path):
    Physical(sys).disconnect(endpoint())
    assert not (sys / "bus/pci/drivers/ixgbe/unbind").exists()


def test_what_the_host_lacks_is_named(sys: Path):
    (sys / "bus/pci/devices" / BDF / "iommu_group").unlink()
    with pytest.raises(HostProblem, match="in no IOMMU group; switch the IOMMU on"):
        Physical(sys).connect(endpoint())
    (sys / "bus/pci/drivers/vfio-pci").rmdir()
    with pytest.raises(HostProblem, match="run `modprobe vfio-pci`"):
        Physical(sys).connect(endpoint())


def serve(folder: Path, address: str) -> str:
    place = folder / f"vhostuser_{address}"
    place.mkdir(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "vhu.sock"))
    return str(place / "vhu.sock")


def test_a_socket_is_found_by_the_interfaces_address(tmp_path: Path):
    path = serve(tmp_path, "10.0.0.2")
    assert vhost_user.find(("fd00::2/64", "10.0.0.2/24"), folder=tmp_path) == path
    assert vhost_user.find(("10.0.0.3/24",), folder=tmp_path) == ""


def test_a_socket_that_others_may_have_made_counts_for_nothing(tmp_path: Path):
    serve(tmp_path, "10.0.0.2")
    (tmp_path / "vhostuser_10.0.0.2").chmod(0o777)
    assert vhost_user.find(("10.0.0.2/24",), folder=tmp_path) == ""


@pytest.mark.root
def test_a_socket_of_another_user_counts_for_nothing(tmp_path: Path):
    path = serve(tmp_path, "10.0.0.2")
    os.chown(path, 1000, 1000)
    assert vhost_user.find(("10.0.0.2/24",), folder=tmp_path) == ""


def test_a_file_is_no_socket(tmp_path: Path):
    (tmp_path / "vhostuser_10.0.0.2").mkdir()
    (tmp_path / "vhostuser_10.0.0.2" / "vhu.sock").write_text("")
    assert vhost_user.find(("10.0.0.2/24",), folder=tmp_path) == ""


def test_the_scan_tells_both_kinds():
    view = scan.View((ETH0,), (), (), cards={"eth0": CARD})
    (card,) = scan.endpoints(view, NetworkConfig(), processors=2, wire=Physical().plan)
    assert (card.type, card.physical, card.tap) == (EndpointType.PHYSICAL, CARD, "")
    view = scan.View((ETH0,), (), (), served={"eth0": "/tmp/vhostuser_10.0.0.2/vhu.sock"})
    (served,) = scan.endpoints(view, NetworkConfig(), processors=2, wire=VhostUser().plan)
    assert (served.type, served.tap) == (EndpointType.VHOST_USER, "")
    assert served.socket.endswith("vhu.sock")
