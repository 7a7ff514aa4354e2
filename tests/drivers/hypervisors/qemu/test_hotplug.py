"""Plugging block devices in: what QEMU is told, and that nothing is left where it refuses."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fake_qemu import GREETING, FakeSocket
from vctui.drivers.hypervisors.base import BlockDevice, PassedDevice, Place, Share
from vctui.drivers.hypervisors.qemu import hotplug, qmp, slots
from vctui.drivers.hypervisors.qemu.machine import Qemu
from vctui.errors import HypervisorError
from vctui.linux import process
from vctui.model.hypervisor import Machine
from vctui.model.kinds import BlockDeviceDriver


def device(slot: int, qdev_id: str = "", below: list[Any] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"slot": slot, "function": 0, "qdev_id": qdev_id}
    return made if below is None else {**made, "pci_bridge": {"devices": below}}


def tree(*below: dict[str, Any]) -> list[dict[str, Any]]:
    """A q35 with one bridge behind its root port."""
    bridge = device(0, "pci-bridge-0", list(below))
    return [{"devices": [device(0), device(5, "ports"), device(1, "bridge-port-0", [bridge])]}]


def test_the_lowest_free_slot_of_the_first_bridge_is_taken():
    assert slots.free_slot(tree()) == slots.Slot("pci-bridge-0", 1, "01/00/01")
    used = [device(1), device(2), device(4)]
    assert slots.free_slot(tree(*used)) == slots.Slot("pci-bridge-0", 3, "01/00/03")


def test_the_next_bridge_is_taken_when_one_is_full():
    full = device(2, "pci-bridge-0", [device(slot) for slot in range(1, 31)])
    pci = [{"devices": [full, device(3, "pci-bridge-1", [])]}]
    assert slots.free_slot(pci) == slots.Slot("pci-bridge-1", 1, "03/01")
    with pytest.raises(HypervisorError, match="1 bridges for devices are full; raise"):
        slots.free_slot([{"devices": [full]}])


@pytest.mark.parametrize("pci", [[], [{}], [{"devices": [device(1, "ports")]}]])
def test_a_machine_without_bridges_takes_nothing(pci):
    with pytest.raises(HypervisorError, match="has no bridge"):
        slots.free_slot(pci)


def test_functions_stand_in_the_path_where_there_are_several():
    port = {**device(28, "port", [device(0, "pci-bridge-0", [])]), "function": 3}
    assert slots.free_slot([{"devices": [port]}]).path == "1c.3/00/01"


class FakeControl(FakeSocket):
    """A control socket that answers by a table and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "query-pci": tree(),
            "query-named-block-nodes": [],
            "qom-list": [],
        }
        self.refused: set[str] = set()
        self.refusal = "it does not fit"
        self.after: dict[str, dict[str, Any]] = {}
        """Events that follow the answer to a command."""

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(GREETING).encode() + b"\r\n")
        rest, decoder = "", json.JSONDecoder()
        while data := await reader.read(65536):
            rest = (rest + data.decode()).lstrip()
            try:
                command, end = decoder.raw_decode(rest)
            except ValueError:
                continue
            rest = rest[end:]
            name = command["execute"]
            if name != "qmp_capabilities":
                self.asked.append((name, command.get("arguments", {})))
            kept = {"id": command["id"]} if "id" in command else {}
            answer = {"return": self.answers.get(name, {}), **kept}
            if name in self.refused:
                error = {"class": "GenericError", "desc": self.refusal}
                answer = {"error": error, **kept}
            stamp = {"timestamp": {"seconds": 1, "microseconds": 0}}
            for each in (answer, *([{**self.after[name], **stamp}] if name in self.after else [])):
                writer.write(json.dumps(each).encode() + b"\r\n")


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[FakeControl]:
    made = FakeControl(tmp_path / "ctl.sock")
    yield made
    await made.close()


@pytest.fixture
def machine() -> Machine:
    return Machine(uuid="u", pid=os.getpid(), pid_started=process.start_time(os.getpid()))


PERIPHERAL = ("qom-list", {"path": "/machine/peripheral"})
BLK = {"name": "virtio-drive-1", "type": "child<virtio-blk-pci>"}
DISK = BlockDevice(name="drive-1", path=Path("/dev/loop7"))
NODE = (
    "blockdev-add",
    {
        "driver": "raw",
        "node-name": "drive-1",
        "file": {"driver": "host_device", "filename": "/dev/loop7"},
    },
)


async def test_a_block_device_is_opened_and_plugged_in(tmp_path, control, machine):
    path = await Qemu(tmp_path).plug(tmp_path, machine, DISK)
    assert path == Place(pci_path="01/00/01")
    assert control.asked == [
        ("query-pci", {}),
        NODE,
        (
            "device_add",
            {
                "driver": "virtio-blk-pci",
                "id": "virtio-drive-1",
                "drive": "drive-1",
                "bus": "pci-bridge-0",
                "addr": "0x1",
            },
        ),
    ]


async def test_a_device_that_is_refused_is_closed_again(tmp_path, control, machine):
    control.refused.add("device_add")
    with pytest.raises(HypervisorError, match="it does not fit"):
        await Qemu(tmp_path).plug(tmp_path, machine, DISK)
    assert control.asked[-1] == ("blockdev-del", {"node-name": "drive-1"})


async def test_a_device_that_cannot_be_opened_is_not_plugged_in(tmp_path, control, machine):
    control.refused.add("blockdev-add")
    with pytest.raises(HypervisorError, match="it does not fit"):
        await Qemu(tmp_path).plug(tmp_path, machine, DISK)
    assert control.asked[1:] == [NODE]


async def test_unplugging_waits_for_the_guest_and_closes_then(tmp_path, control, machine):
    control.answers["qom-list"] = [BLK]
    control.answers["query-named-block-nodes"] = [{"node-name": "drive-1"}]
    gone = {"event": "DEVICE_DELETED", "data": {"device": "virtio-drive-1", "path": "/x"}}
    control.after["device_del"] = gone
    await Qemu(tmp_path).unplug(tmp_path, machine, "drive-1")
    assert [name for name, _ in control.asked] == [
        *("qom-list", "device_del", "query-named-block-nodes", "blockdev-del"),
    ]
    assert control.asked[1][1] == {"id": "virtio-drive-1"}


async def test_unplugging_what_is_not_there_is_no_error(tmp_path, control, machine):
    await Qemu(tmp_path).unplug(tmp_path, machine, "drive-1")
    assert [name for name, _ in control.asked] == ["qom-list", "query-named-block-nodes"]


async def test_a_guest_that_keeps_its_device_is_told(tmp_path, control, machine, monkeypatch):
    monkeypatch.setattr("vctui.drivers.hypervisors.qemu.hotplug._UNPLUG", 0.1)
    control.answers["qom-list"] = [BLK]
    with pytest.raises(HypervisorError, match="does not let go of the device 'virtio-drive-1'"):
        await Qemu(tmp_path).unplug(tmp_path, machine, "drive-1")
    assert control.asked[-2:] == [("device_del", {"id": "virtio-drive-1"}), PERIPHERAL]


async def test_a_disk_of_the_scsi_controller_takes_the_lowest_free_lun(tmp_path, control, machine):
    control.answers["qom-list"] = [
        *({"name": f"virtio-{name}", "type": "child<scsi-hd>"} for name in ("a", "b")),
        {"name": "scsi0", "type": "child<virtio-scsi-pci>"},
    ]
    control.answers["qom-get"] = 0  # both say 0:0
    disk = BlockDevice(
        name="drive-1",
        path=Path("/dev/loop7"),
        driver=BlockDeviceDriver.VIRTIO_SCSI,
        read_only=True,
    )
    place = await Qemu(tmp_path).plug(tmp_path, machine, disk)
    assert place == Place(scsi_address="0:1")
    assert control.asked[1] == (
        "qom-get",
        {"path": "/machine/peripheral/virtio-a", "property": "scsi-id"},
    )
    opened, plugged = control.asked[-2:]
    assert opened[1]["read-only"] is opened[1]["file"]["read-only"] is True
    assert plugged == (
        "device_add",
        {
            "driver": "scsi-hd",
            "id": "virtio-drive-1",
            "drive": "drive-1",
            "bus": "scsi0.0",
            "scsi-id": 0,
            "lun": 1,
        },
    )


def test_disks_are_numbered_as_the_original_did():
    assert slots.free_lun([]) == slots.Lun(0, 0)
    assert slots.free_lun([slots.Lun(0, 0), slots.Lun(0, 2)]) == slots.Lun(0, 1)
    first = [slots.Lun(0, lun) for lun in range(256)]
    assert str(slots.free_lun(first)) == "1:0"
    every = [slots.Lun(target, lun) for target in range(256) for lun in range(256)]
    with pytest.raises(HypervisorError, match="full with 65536 disks"):
        slots.free_lun(every)


async def test_a_device_that_somebody_asked_for_before_is_waited_for(tmp_path, control, machine):
    """As an engine that was killed meanwhile."""
    control.answers["qom-list"] = [BLK]
    control.refused.add("device_del")
    control.refusal = "Device virtio-drive-1 is already in the process of unplug"
    gone = {"event": "DEVICE_DELETED", "data": {"device": "virtio-drive-1", "path": "/x"}}
    control.after["device_del"] = gone
    await Qemu(tmp_path).unplug(tmp_path, machine, "drive-1")
    assert [name for name, _ in control.asked] == [
        *("qom-list", "device_del", "qom-list", "query-named-block-nodes"),
    ]


async def test_a_device_that_qemu_does_not_take_away_is_told(tmp_path, control, machine):
    control.answers["qom-list"] = [BLK]
    control.refused.add("device_del")
    with pytest.raises(HypervisorError, match="it does not fit"):
        await Qemu(tmp_path).unplug(tmp_path, machine, "drive-1")


async def test_a_device_of_the_host_is_passed_through_and_taken_back(tmp_path, control, machine):
    passed = PassedDevice(name="vfio-1", address="0000:01:00.0")
    place = await Qemu(tmp_path).plug(tmp_path, machine, passed)
    assert place == Place(pci_path="01/00/01")
    assert control.asked == [
        ("query-pci", {}),
        (
            "device_add",
            {
                "driver": "vfio-pci",
                "id": "vfio-1",
                "host": "0000:01:00.0",
                "bus": "pci-bridge-0",
                "addr": "0x1",
            },
        ),
    ]
    control.asked.clear()
    control.answers["qom-list"] = [{"name": "vfio-1", "type": "child<vfio-pci>"}]
    gone = {"event": "DEVICE_DELETED", "data": {"device": "vfio-1", "path": "/x"}}
    control.after["device_del"] = gone
    await Qemu(tmp_path).unplug(tmp_path, machine, "vfio-1")
    assert control.asked[1] == ("device_del", {"id": "vfio-1"})


async def test_a_device_that_qemu_cannot_open_is_told(tmp_path, control, machine):
    control.refused.add("device_add")
    control.refusal = "vfio 0000:01:00.0: no iommu_group found: No such file or directory"
    passed = PassedDevice(name="vfio-1", address="0000:01:00.0")
    with pytest.raises(HypervisorError, match="no iommu_group found"):
        await Qemu(tmp_path).plug(tmp_path, machine, passed)


async def test_a_volume_is_shown_to_a_guest_that_was_saved_without(tmp_path, control):
    async with qmp.connect(control.path) as session:
        await hotplug.plug_share(session, 1, Share(tag="site", path=Path("/srv")))
    shown = {
        "driver": "virtio-9p-pci",
        "id": "share1-device",
        "fsdev": "share1",
        "mount_tag": "site",
        "bus": "pci-bridge-0",
        "addr": "0x1",
    }
    assert control.asked == [("query-pci", {}), ("device_add", shown)]
