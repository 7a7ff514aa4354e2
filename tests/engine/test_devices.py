"""Devices of containers in the record and in the machine, on a machine that only remembers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from vctui.drivers.devices import vfio
from vctui.drivers.hypervisors.base import BlockDevice, PassedDevice, Place
from vctui.drivers.hypervisors.mock import MockHypervisor
from vctui.engine import devices
from vctui.engine.context import Context
from vctui.errors import HypervisorError
from vctui.model.container import Cmd, ContainerConfig, ContainerRecord
from vctui.model.device import DeviceInfo
from vctui.model.hypervisor import Machine
from vctui.model.pod import PodConfig, PodRecord
from vctui.model.state import State
from vctui.settings import Settings
from vctui.store.memory import MemoryStore

GROUP = DeviceInfo(container_path="/dev/vfio/7", host_path="/dev/vfio/7")
CONFIG = ContainerConfig(id="c1", rootfs="busybox", cmd=Cmd(args=("sh",)), device_infos=(GROUP,))


class Recorder(MockHypervisor):
    def __init__(self, ctx: Context) -> None:
        super().__init__()
        self.ctx = ctx
        self.plugged: list[str] = []
        self.unplugged: list[str] = []
        self.room = 8

    async def plug(
        self, plan_dir: Path, machine: Machine, device: BlockDevice | PassedDevice
    ) -> Place:
        assert isinstance(device, PassedDevice)
        # whoever comes after a crash knows of it
        assert device.name in [one.id for one in self.ctx.store.pod("p1").containers[0].devices]
        if len(self.plugged) == self.room:
            raise HypervisorError("the bridge is full")
        self.plugged.append(device.address)
        return Place(pci_path=f"01/00/{len(self.plugged):02x}")

    async def unplug(self, plan_dir: Path, machine: Machine, name: str) -> None:
        self.unplugged.append(name)


@pytest.fixture
def ctx(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Context:
    made = Context(settings, MemoryStore())
    with made.store.transaction() as tx:
        tx.add_pod(
            PodRecord(
                config=PodConfig(id="p1", containers=(CONFIG,)),
                created=datetime.now(UTC),
                state=State.RUNNING,
                machine=Machine(uuid="u", pid=0),
                containers=(ContainerRecord(config=CONFIG),),
            )
        )
    monkeypatch.setattr(vfio, "functions", lambda info: ("0000:01:00.0", "0000:01:00.1"))
    return made


@pytest.fixture
def machine(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(ctx)
    monkeypatch.setattr(Context, "hypervisor", lambda self, record: recorder)
    return recorder


async def test_all_of_a_group_is_passed_through_and_taken_back(ctx: Context, machine: Recorder):
    attached = await devices.attach(ctx, ctx.store.pod("p1"), CONFIG)
    assert machine.plugged == ["0000:01:00.0", "0000:01:00.1"]
    assert [(one.passed, one.place) for one in attached.devices] == [
        ("0000:01:00.0", Place(pci_path="01/00/01")),
        ("0000:01:00.1", Place(pci_path="01/00/02")),
    ]
    told = ctx.store.pod("p1").containers[0].devices
    assert [(one.container_path, one.hotplugged) for one in told] == [("/dev/vfio/7", True)] * 2

    await devices.detach(ctx, "p1", "c1")
    assert machine.unplugged == [one.id for one in told]
    assert ctx.store.pod("p1").containers[0].devices == ()


async def test_a_group_that_does_not_fit_is_taken_back_whole(ctx: Context, machine: Recorder):
    machine.room = 1
    with pytest.raises(HypervisorError, match="the bridge is full"):
        await devices.attach(ctx, ctx.store.pod("p1"), CONFIG)
    told = ctx.store.pod("p1").containers[0].devices
    assert [one.hotplugged for one in told] == [True, False]
    await devices.detach(ctx, "p1", "c1")
    assert machine.unplugged == [one.id for one in told]
