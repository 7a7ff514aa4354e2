"""What every hypervisor promises, run over each of them."""

from __future__ import annotations

import pytest

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.mock import MockHypervisor
from vctui.drivers.hypervisors.qemu.machine import Qemu


@pytest.fixture(params=["mock", pytest.param("qemu", marks=pytest.mark.vm)])
def hypervisor(request, tmp_path):
    return MockHypervisor() if request.param == "mock" else Qemu(tmp_path / "state")


@pytest.fixture
def plan(tmp_path):
    run = tmp_path / "run"
    (run / "share").mkdir(parents=True)
    return machine_plan(run, memory=64)


@pytest.fixture
async def machine(hypervisor, plan):
    machine = await hypervisor.start(plan)
    yield machine
    await hypervisor.stop(plan.run_dir, machine, timeout=5)


async def test_a_started_machine_is_what_was_planned(hypervisor, plan, machine):
    assert (machine.uuid, machine.vcpus, machine.memory) == (plan.uuid, 1, 64)
    assert machine.accelerator in {"mock", "tcg"}
    assert machine.boot
    assert hypervisor.alive(machine)


async def test_pause_and_resume_leave_it_alive(hypervisor, plan, machine):
    for _ in range(2):
        await hypervisor.pause(plan.run_dir, machine)
        assert hypervisor.alive(machine)
        await hypervisor.resume(plan.run_dir, machine)
    assert hypervisor.alive(machine)


@pytest.mark.parametrize("paused", [False, True])
async def test_stop_ends_it_and_may_be_repeated(hypervisor, plan, machine, paused):
    if paused:
        await hypervisor.pause(plan.run_dir, machine)
    for _ in range(2):
        await hypervisor.stop(plan.run_dir, machine, timeout=5)
        assert not hypervisor.alive(machine)


async def test_a_stopped_one_can_be_started_again(hypervisor, plan, machine):
    await hypervisor.stop(plan.run_dir, machine, timeout=5)
    again = await hypervisor.start(plan)
    assert hypervisor.alive(again)
    await hypervisor.stop(plan.run_dir, again, timeout=5)
