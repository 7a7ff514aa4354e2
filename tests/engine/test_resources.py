"""The size of a machine for its containers, on a machine that only remembers."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.drivers.hypervisors.base import Size
from vctui.drivers.hypervisors.mock import MockHypervisor
from vctui.engine import resources
from vctui.engine.runtime import Runtime
from vctui.errors import HypervisorError
from vctui.model.container import Cmd, ContainerConfig, ContainerRecord
from vctui.model.events import EventKind
from vctui.model.hypervisor import Machine
from vctui.model.kinds import AgentType, HypervisorType
from vctui.model.linux import ContainerResources
from vctui.model.pod import PodConfig, PodRecord, Resources
from vctui.model.state import State

MIB = 1024 * 1024
MACHINE = Machine(
    uuid="u",
    pid=0,
    vcpus=1,
    memory=256,
    boot_vcpus=1,
    boot_memory=256,
    max_vcpus=8,
    max_memory=4096,
)


def container(name: str, cpus: float = 0, memory: int = 0, period: int = 0) -> ContainerConfig:
    quota = int(cpus * (period or 100_000)) if cpus >= 0 else -1
    limits = ContainerResources(cpu_quota=quota, cpu_period=period, memory_limit=memory)
    return ContainerConfig(id=name, rootfs="/r", cmd=Cmd(args=("sh",)), resources=limits)


def record(*later: ContainerConfig, first: ContainerConfig, state: State) -> PodRecord:
    containers = [ContainerRecord(config=one, state=state) for one in (first, *later)]
    return PodRecord(
        config=PodConfig(id="p1", containers=(first,)),
        created=datetime.now(UTC),
        containers=tuple(containers),
    )


def test_containers_of_the_configuration_share_the_size_of_the_start():
    pod = record(first=container("first", 4, 1024 * MIB), state=State.RUNNING)
    assert resources.wanted(pod, MACHINE) == Size(vcpus=1, memory=256)


@pytest.mark.parametrize(
    ("later", "vcpus", "memory"),
    [
        ((container("a", 1),), 2, 256),
        ((container("a", 0.5), container("b", 0.5)), 2, 256),
        ((container("a", 0.5), container("b", 0.75)), 3, 256),
        ((container("a", 4000 / 1200, period=1200),), 5, 256),
        ((container("a", -1),), 1, 256),
        ((container("a", 0, MIB + 1), container("b", 0, MIB)), 1, 259),
        ((container("a", 100),), 8, 256),
    ],
)
def test_those_that_came_later_bring_what_their_limits_say(later, vcpus, memory):
    pod = record(*later, first=container("first"), state=State.RUNNING)
    assert resources.wanted(pod, MACHINE) == Size(vcpus=vcpus, memory=memory)


def test_only_what_runs_or_is_about_to_counts():
    pod = record(
        container("a", 1, MIB), container("b", 1, MIB), first=container("x"), state=State.STOPPED
    )
    assert resources.wanted(pod, MACHINE) == Size(vcpus=1, memory=256)
    assert resources.wanted(pod, MACHINE, {"a"}) == Size(vcpus=2, memory=257)


def test_an_emulated_machine_keeps_its_processors():
    machine = msgspec.structs.replace(MACHINE, accelerator="tcg", vcpus=3)
    for state, cpus, vcpus in ((State.STOPPED, 1, 3), (State.RUNNING, 1, 3), (State.RUNNING, 4, 5)):
        pod = record(container("a", cpus), first=container("x"), state=state)
        assert resources.wanted(pod, machine).vcpus == vcpus


@given(st.lists(st.tuples(st.integers(-1, 2**40), st.integers(0, 10**6), st.integers(0, 2**50))))
def test_it_is_never_smaller_than_at_the_start_nor_more_than_the_machine_takes(limits):
    later = [
        ContainerConfig(
            id=f"c{number}",
            rootfs="/r",
            cmd=Cmd(args=("sh",)),
            resources=ContainerResources(cpu_quota=quota, cpu_period=period, memory_limit=memory),
        )
        for number, (quota, period, memory) in enumerate(limits)
    ]
    size = resources.wanted(record(*later, first=container("x"), state=State.RUNNING), MACHINE)
    assert 1 <= size.vcpus <= 8
    assert size.memory >= 256


async def size_of(runtime: Runtime) -> tuple[int, int]:
    machine = (await runtime.status_pod("p1")).machine
    assert machine is not None
    return machine.vcpus, machine.memory


def pod() -> PodConfig:
    return PodConfig(
        id="p1",
        hypervisor_type=HypervisorType.MOCK,
        agent_type=AgentType.NOOP,
        vm_config=Resources(vcpus=1, memory=256),
        containers=(container("first", 4),),
    )


async def test_processors_come_and_go_with_a_container_and_memory_stays(runtime: Runtime):
    await runtime.run_pod(pod())
    await runtime.create_container("p1", container("late", 1.5, 100 * MIB))
    assert await size_of(runtime) == (1, 256)
    await runtime.start_container("p1", "late")
    assert await size_of(runtime) == (3, 356)
    await runtime.stop_container("p1", "late")
    assert await size_of(runtime) == (1, 356)
    await runtime.start_container("p1", "late")
    assert await size_of(runtime) == (3, 356)
    kinds = [(one.kind, one.message) for one in runtime.recent_events(limit=100)]
    assert (EventKind.POD_RESIZED, "3 virtual CPUs, 356 MiB") in kinds


async def test_a_pod_that_is_started_again_has_room_for_those_that_came_later(runtime: Runtime):
    await runtime.run_pod(pod())
    await runtime.create_container("p1", container("late", 1, 100 * MIB))
    await runtime.stop_pod("p1")
    await runtime.start_pod("p1")
    assert await size_of(runtime) == (2, 356)


async def test_a_container_that_the_host_has_no_memory_for_changes_nothing(runtime: Runtime):
    await runtime.run_pod(pod())
    await runtime.create_container("p1", container("late", 1, 2**41))
    with pytest.raises(HypervisorError, match=r"'p1' would need .* MiB .* a lower memory_limit"):
        await runtime.start_container("p1", "late")
    assert await size_of(runtime) == (1, 256)
    assert (await runtime.status_container("p1", "late")).state is State.READY


async def test_a_machine_that_grew_in_part_gives_back_what_it_got(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
):
    """As a guest that does not take the processors it was given."""
    has = Size(vcpus=1, memory=256)

    async def resize(self: object, *args: object) -> Size:
        nonlocal has
        wanted = args[-1]
        assert isinstance(wanted, Size)
        has = Size(vcpus=wanted.vcpus, memory=max(wanted.memory, has.memory))
        if wanted.vcpus > 1:
            raise HypervisorError("it does not fit")
        return has

    async def size(self: object, *args: object) -> Size:
        return has

    monkeypatch.setattr(MockHypervisor, "resize", resize)
    monkeypatch.setattr(MockHypervisor, "size", size)
    await runtime.run_pod(pod())
    await runtime.create_container("p1", container("late", 1, 100 * MIB))
    with pytest.raises(HypervisorError, match="it does not fit"):
        await runtime.start_container("p1", "late")
    assert has.vcpus == 1
    assert await size_of(runtime) == (1, 356)


async def test_processors_that_cannot_be_had_back_stay_and_are_told(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
):
    await runtime.run_pod(pod())
    await runtime.create_container("p1", container("late", 1))
    await runtime.start_container("p1", "late")

    async def refuse(self: object, *args: object) -> Size:
        raise HypervisorError("the guest keeps them")

    monkeypatch.setattr(MockHypervisor, "resize", refuse)
    await runtime.stop_container("p1", "late")
    assert await size_of(runtime) == (2, 256)
    told = runtime.recent_events(limit=9)
    warnings = [one.message for one in told if one.kind is EventKind.WARNING]
    assert warnings == ["the machine keeps its size: the guest keeps them"]
