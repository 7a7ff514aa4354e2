"""Devices that were plugged in: found in /sys by their PCI paths, renumbered in specifications."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import AgentError
from vctui.guest import blocks, devices
from vctui.guest.config import Config
from vctui.guest.loop import Loop
from vctui.wire.pb import agent_pb2, oci_pb2

ROOT = "devices/pci0000:00"


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    bridge = tmp_path / ROOT / "0000:00:01.0" / "0000:01:00.0"
    for slot, numbers in (("0000:02:01.0", "254:0"), ("0000:02:1e.0", "254:16")):
        block = bridge / slot / "virtio3" / "block" / f"vd{numbers[-1]}"
        block.mkdir(parents=True)
        (block / "dev").write_text(f"{numbers}\n")
    (bridge / "0000:02:05.0" / "virtio4").mkdir(parents=True)
    other = tmp_path / ROOT / "0000:00:1c.3" / "virtio1" / "block" / "vda"
    other.mkdir(parents=True)
    (other / "dev").write_text("254:32\n")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("01/00/01", (254, 0)),
        ("1/0/1e", (254, 16)),
        ("1c.3", (254, 32)),
        ("01/00/02", None),
        ("01/00/05", None),
        ("1c", None),
    ],
)
def test_a_disk_is_found_by_its_path(sys: Path, path: str, numbers: object) -> None:
    disk = blocks.find_pci(str(sys), path)
    assert (disk and disk.numbers) == numbers
    assert disk is None or disk.name.startswith("vd")


def test_a_disk_without_numbers_is_not_there_yet(sys: Path) -> None:
    (sys / ROOT / "0000:00:1c.3" / "virtio1" / "block" / "vda" / "dev").unlink()
    assert blocks.find_pci(str(sys), "1c.3") is None


@pytest.mark.parametrize("path", ["", "/", "1/", "../..", "001", "1.22", "x", "vda", "1 /2"])
def test_what_is_no_path_is_refused(sys: Path, path: str) -> None:
    with pytest.raises(AgentError, match="is no PCI path"):
        blocks.find_pci(str(sys), path)


@given(st.text())
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with contextlib.suppress(AgentError):
        assert blocks.find_pci("/nowhere", text) is None
    with contextlib.suppress(AgentError):
        assert blocks.find_scsi("/nowhere", text) is None


@pytest.fixture
def scsi(tmp_path: Path) -> Path:
    for address, numbers in (("0:0:1", "8:0"), ("0:2:255", "8:16")):
        block = tmp_path / "bus/scsi/devices" / f"2:{address}" / "block" / f"sd{numbers[-1]}"
        block.mkdir(parents=True)
        (block / "dev").write_text(f"{numbers}\n")
    (tmp_path / "bus/scsi/devices/host2").mkdir()
    for host in ("host2", "host3"):
        (tmp_path / "class/scsi_host" / host).mkdir(parents=True)
        (tmp_path / "class/scsi_host" / host / "scan").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("address", "numbers"), [("0:1", (8, 0)), ("2:255", (8, 16)), ("0:0", None), ("1:0", None)]
)
def test_a_disk_is_found_by_its_scsi_address(scsi: Path, address: str, numbers: object) -> None:
    disk = blocks.find_scsi(str(scsi), address)
    assert (disk and disk.numbers) == numbers


@pytest.mark.parametrize("address", ["", "1", "1:", ":1", "1:2:3", "-1:0", "0:65536", "a:b", "²:1"])
def test_what_is_no_scsi_address_is_refused(scsi: Path, address: str) -> None:
    with pytest.raises(AgentError, match="is no SCSI address"):
        blocks.find_scsi(str(scsi), address)


def test_every_controller_is_told_where_to_look(scsi: Path) -> None:
    blocks.scan_scsi(str(scsi), "3:4")
    scans = (scsi / "class/scsi_host").glob("*/scan")
    assert [scan.read_text() for scan in scans] == ["0 3 4", "0 3 4"]


def linux(*disks: tuple[str, int, int]) -> oci_pb2.Linux:
    return oci_pb2.Linux(
        Devices=[
            oci_pb2.LinuxDevice(Path=path, Type="b", Major=major, Minor=minor)
            for path, major, minor in disks
        ],
        Resources=oci_pb2.LinuxResources(
            Devices=[
                oci_pb2.LinuxDeviceCgroup(Type="b", Major=-1, Minor=-1),
                oci_pb2.LinuxDeviceCgroup(Type="c", Major=7, Minor=0),
                *(
                    oci_pb2.LinuxDeviceCgroup(Type="b", Major=major, Minor=minor)
                    for _, major, minor in disks
                ),
            ]
        ),
    )


def test_numbers_of_the_guest_stand_in_for_those_of_the_host() -> None:
    """Also where a disk has on the host the numbers that another one gets in the guest."""
    spec = linux(("/dev/a", 7, 0), ("/dev/b", 254, 0))
    devices.renumber(spec, {"/dev/a": (254, 0), "/dev/b": (254, 16)})
    assert [(one.Major, one.Minor) for one in spec.Devices] == [(254, 0), (254, 16)]
    rules = [(one.Type, one.Major, one.Minor) for one in spec.Resources.Devices]
    assert rules == [("b", -1, -1), ("c", 7, 0), ("b", 254, 0), ("b", 254, 16)]


def test_a_device_that_the_specification_lacks_is_refused() -> None:
    with pytest.raises(AgentError, match="'/dev/b' is not in the container's specification"):
        devices.renumber(linux(("/dev/a", 7, 0)), {"/dev/b": (254, 0)})


class Clock:
    """A loop whose sleeps take no time."""

    def __init__(self) -> None:
        self.slept = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds


def passed(path: str) -> agent_pb2.Device:
    options = [f"0000:03:00.0={path}"]
    return agent_pb2.Device(type="vfio-pci-gk", id="v", container_path="/d", options=options)


def test_a_device_that_was_passed_through_is_waited_for(
    sys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_PATIENCE", 0.01)
    config, spec = Config(sys=str(sys)), linux()
    loop = Loop(pytest.fail)

    def bind(path: str) -> None:
        bound = devices.bind(loop, None, config, [passed(path)], spec)  # type: ignore[arg-type]
        loop.run_until(loop.start(bound))

    try:
        bind("01/00/05")
        assert spec == linux()
        with pytest.raises(AgentError, match=r"no device came at 01/00/06 within 0\.01 s"):
            bind("01/00/06")
        with pytest.raises(AgentError, match="is no PCI path"):
            bind("../..")
    finally:
        loop.close()


async def test_other_types_are_refused_by_name() -> None:
    device = agent_pb2.Device(type="vfio-ap", id="x", container_path="/d")
    with pytest.raises(AgentError, match="'vfio-ap' here; there are blk, scsi, vfio-pci-gk"):
        await devices.bind(Clock(), None, Config(), [device], linux())  # type: ignore[arg-type]
