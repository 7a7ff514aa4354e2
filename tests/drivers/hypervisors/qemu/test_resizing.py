"""Processors and memory of a running machine: what QEMU is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.drivers.hypervisors.qemu.test_hotplug import FakeControl
from vctui.drivers.hypervisors.base import Size
from vctui.drivers.hypervisors.qemu import qmp, resizing
from vctui.errors import HypervisorError
from vctui.model.hypervisor import HypervisorConfig, Machine

MIB = 1024 * 1024
MACHINE = Machine(uuid="u", pid=1, vcpus=1, memory=256, boot_vcpus=1, boot_memory=256)


def cpu(core: int, path: str = "") -> dict[str, Any]:
    props = {"socket-id": 0, "core-id": core, "thread-id": 0}
    found = {"type": "max-x86_64-cpu", "vcpus-count": 1, "props": props}
    return {**found, "qom-path": path} if path else found


BOOTED = cpu(0, "/machine/unattached/device[0]")


def own(core: int) -> dict[str, Any]:
    return cpu(core, f"/machine/peripheral/cpu-{core}")


def test_processors_are_added_at_the_first_free_places():
    cpus = [cpu(3), own(2), cpu(1), BOOTED]
    assert resizing.to_plug(cpus, 2) == []
    assert resizing.to_plug(cpus, 4) == [
        (
            "device_add",
            {
                "driver": "max-x86_64-cpu",
                "id": f"cpu-{core}",
                "socket-id": 0,
                "core-id": core,
                "thread-id": 0,
            },
        )
        for core in (1, 3)
    ]


def test_more_processors_than_the_machine_takes_are_refused():
    with pytest.raises(HypervisorError, match="takes 2 virtual CPUs at most, and not 3"):
        resizing.to_plug([BOOTED, cpu(1)], 3)


def test_the_newest_processors_go_first_and_those_of_the_start_never():
    cpus = [own(3), own(2), cpu(1), BOOTED]
    assert resizing.to_unplug(cpus, 3) == []
    assert resizing.to_unplug(cpus, 2) == ["cpu-3"]
    assert resizing.to_unplug(cpus, 0) == ["cpu-3", "cpu-2"]


@pytest.fixture
async def control(tmp_path):
    made = FakeControl(tmp_path / "ctl.sock")
    made.answers |= {"query-hotpluggable-cpus": [BOOTED], "query-memory-devices": []}
    made.answers["query-memdev"] = [{"id": "ram", "share": False}]
    yield made
    await made.close()


def dimm(number: int, mib: int) -> dict[str, Any]:
    return {"type": "dimm", "data": {"id": f"dimm-{number}", "size": mib * MIB}}


async def resize(control: FakeControl, config: HypervisorConfig, wanted: Size, **how: Any) -> Size:
    async with qmp.connect(control.path) as session:
        return await resizing.resize(session, MACHINE, config, wanted, **how)


def changes(control: FakeControl) -> list[tuple[str, dict[str, Any]]]:
    return [each for each in control.asked if not each[0].startswith(("query", "qom"))]


async def test_memory_comes_in_blocks_of_the_guest(control):
    nvdimm = {"type": "nvdimm", "data": {"id": "nv0", "size": 64 * MIB}}
    control.answers["query-memory-devices"] = [nvdimm, dimm(0, 128)]
    await resize(control, HypervisorConfig(), Size(vcpus=1, memory=400))
    assert changes(control) == [
        (
            "object-add",
            {
                "qom-type": "memory-backend-ram",
                "size": 128 * MIB,
                "prealloc": False,
                "id": "plugged-1",
            },
        ),
        ("device_add", {"driver": "pc-dimm", "id": "dimm-1", "memdev": "plugged-1"}),
    ]


async def test_memory_that_is_there_is_used_and_never_taken_away(control):
    control.answers["query-memory-devices"] = [dimm(0, 256)]
    for memory in (256, 300, 512):
        has = await resize(control, HypervisorConfig(), Size(vcpus=1, memory=memory))
        assert has == Size(vcpus=1, memory=512)
    assert changes(control) == []


async def test_memory_is_of_the_kind_of_the_machines_first(control, tmp_path):
    wanted = Size(vcpus=1, memory=257)
    await resize(control, HypervisorConfig(mem_prealloc=True), wanted)
    assert changes(control)[0][1]["prealloc"] is True
    control.asked.clear()
    await resize(control, HypervisorConfig(huge_pages=True), wanted, huge_pages=tmp_path)
    added = changes(control)[0][1]
    assert (added["qom-type"], added["mem-path"]) == ("memory-backend-file", str(tmp_path))


async def test_programs_that_map_the_machines_memory_map_what_comes_later(control):
    control.answers["query-memdev"] = [{"id": "ram", "share": True}]
    await resize(control, HypervisorConfig(), Size(vcpus=1, memory=257))
    added = changes(control)[0][1]
    assert (added["qom-type"], added["share"]) == ("memory-backend-memfd", True)


async def test_memory_that_is_refused_leaves_nothing(control):
    control.refused.add("device_add")
    with pytest.raises(HypervisorError, match="it does not fit"):
        await resize(control, HypervisorConfig(), Size(vcpus=1, memory=512))
    assert changes(control)[-1] == ("object-del", {"id": "plugged-0"})


async def test_what_an_engine_left_that_was_killed_is_taken_away(control):
    """Between making the memory and giving it to the machine."""
    control.answers["query-memory-devices"] = [dimm(1, 128)]
    control.answers["qom-list"] = [
        {"name": name, "type": "child<memory-backend-ram>"}
        for name in ("plugged-0", "plugged-1", "ram")
    ]
    await resize(control, HypervisorConfig(), Size(vcpus=1, memory=512))
    assert changes(control)[0] == ("object-del", {"id": "plugged-0"})
    assert changes(control)[1][1]["id"] == "plugged-0"


async def test_processors_are_taken_away_when_the_guest_lets_go_of_them(control):
    control.answers["query-hotpluggable-cpus"] = [own(1), BOOTED]
    gone = {"event": "DEVICE_DELETED", "data": {"device": "cpu-1", "path": "/x"}}
    control.after["device_del"] = gone
    await resize(control, HypervisorConfig(), Size(vcpus=1, memory=256))
    assert changes(control) == [("device_del", {"id": "cpu-1"})]


async def test_an_emulated_machine_keeps_its_processors(control):
    control.answers["query-hotpluggable-cpus"] = [own(1), BOOTED]
    machine = msgspec.structs.replace(MACHINE, accelerator="tcg")
    async with qmp.connect(control.path) as session:
        wanted = Size(vcpus=1, memory=256)
        has = await resizing.resize(session, machine, HypervisorConfig(), wanted)
    assert has == Size(vcpus=2, memory=256)
    assert changes(control) == []


async def test_a_guest_that_keeps_a_processor_is_told_at_once(control):
    control.answers["query-hotpluggable-cpus"] = [own(1), BOOTED]
    kept = {"event": "DEVICE_UNPLUG_GUEST_ERROR", "data": {"device": "cpu-1", "path": "/x"}}
    control.after["device_del"] = kept
    with pytest.raises(HypervisorError, match="does not let go of the device 'cpu-1'"):
        await resize(control, HypervisorConfig(), Size(vcpus=1, memory=256))
