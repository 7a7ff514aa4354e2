"""The QEMU driver with the guest that we build: it boots as planned, and KVM is proved with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.plans import machine_plan
from vctui import settings
from vctui.drivers.hypervisors.base import Port
from vctui.drivers.hypervisors.qemu import accel, program, qmp
from vctui.drivers.hypervisors.qemu.machine import Qemu
from vctui.image import builder
from vctui.linux import sockets
from vctui.model.kinds import Accelerator

pytestmark = pytest.mark.vm
BOOT = 60.0


@pytest.fixture
async def guest():
    return await builder.build(settings.load())


@pytest.fixture
def plan(tmp_path, guest):
    run = tmp_path / "run"
    (run / "share").mkdir(parents=True)
    return machine_plan(
        run,
        accelerator=Accelerator.AUTO,
        kernel=Path(guest.kernel),
        initrd=Path(guest.initrd),
        kernel_params=guest.kernel_params,
        memory=max(guest.min_memory, 192),
        min_memory=guest.min_memory,
        ports=(
            Port(name="agent.channel.0", socket=run / "agent.sock"),
            Port(name="agent.log.0", socket=run / "agentlog.sock"),
        ),
    )


async def test_the_guest_boots_opens_its_port_and_speaks_on_the_console(plan, tmp_path):
    hypervisor = Qemu(tmp_path / "state")
    hypervisor.check(plan)
    machine = await hypervisor.start(plan)
    try:
        async with asyncio.timeout(BOOT):
            reader, writer = await sockets.open_connection(plan.run_dir / "serial.sock")
            assert b"Linux version" in await reader.readuntil(b"Linux version")
            async with qmp.connect(plan.run_dir / "mon.sock") as session:
                async for event in session.events():
                    if event["event"] == "VSERPORT_CHANGE" and event["data"]["open"]:
                        break
        writer.close()
    finally:
        await hypervisor.stop(plan.run_dir, machine, timeout=5)
    assert not hypervisor.alive(machine)
    assert accel.known(tmp_path / "state").name == machine.accelerator


async def test_the_accelerator_is_settled_in_bounded_time_and_once(guest, tmp_path, monkeypatch):
    path = program.find("qemu-system-x86_64")
    (tmp_path / "state").mkdir()

    async def choose() -> accel.Choice:
        return await accel.choose(
            Accelerator.AUTO,
            program=path,
            kernel=Path(guest.kernel),
            state_dir=tmp_path / "state",
        )

    async with asyncio.timeout(30):
        choices = await asyncio.gather(*(choose() for _ in range(10)))
    assert len({choice.name for choice in choices}) == 1
    if not accel.KVM.exists():
        return
    monkeypatch.setattr(accel, "_prove", None)  # not called any more
    assert await choose() == choices[0]
