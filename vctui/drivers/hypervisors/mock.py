"""A machine that only remembers what it was asked: pods without virtual machines."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vctui.drivers.hypervisors.base import (
    BlockDevice,
    Hypervisor,
    MachinePlan,
    PassedDevice,
    Place,
    Size,
    TemplateFit,
)
from vctui.errors import InvalidConfig
from vctui.model.hypervisor import HypervisorConfig, Machine
from vctui.model.network import Endpoint

_MAX_VCPUS: Final = 16
_MAX_MEMORY: Final = 1024 * 1024
"""MiB."""


class MockHypervisor(Hypervisor):
    """No process stands for its machines (pid 0), so none can die unasked.

    One that was stopped is remembered as long as this object; whether a pod runs
    is the store's to know.
    """

    def __init__(self) -> None:
        self._stopped: set[str] = set()

    def check(self, plan: MachinePlan) -> None:
        """Raises InvalidConfig: an agent is expected to answer."""
        if plan.ports or plan.socket_type.is_vsock:
            raise InvalidConfig(
                f"pod {plan.pod_id!r} has an agent, and hypervisor_type mock boots no guest; "
                "set agent_type noop, or another hypervisor_type"
            )

    async def start(self, plan: MachinePlan) -> Machine:
        self._stopped.discard(plan.uuid)
        return Machine(
            uuid=plan.uuid,
            pid=0,
            accelerator="mock",
            boot="no virtual machine: the mock hypervisor only remembers",
            kernel=str(plan.kernel or ""),
            initrd=str(plan.initrd or ""),
            image=str(plan.image or ""),
            vcpus=plan.vcpus,
            memory=plan.memory,
            boot_vcpus=plan.vcpus,
            boot_memory=plan.memory,
            max_vcpus=_MAX_VCPUS,
            max_memory=_MAX_MEMORY,
        )

    async def template_fit(self, plan: MachinePlan) -> TemplateFit:
        return TemplateFit()

    async def opened(self, plan_dir: Path, machine: Machine, port: str) -> None:
        """Nobody is there who could open it; nobody waits."""

    async def save(self, plan_dir: Path, machine: Machine, state: Path) -> None:
        """There is nothing to be saved."""

    async def stop(self, plan_dir: Path, machine: Machine, *, timeout: float) -> None:
        self._stopped.add(machine.uuid)

    async def pause(self, plan_dir: Path, machine: Machine) -> None:
        """Nothing runs that could be frozen."""

    async def resume(self, plan_dir: Path, machine: Machine) -> None:
        """Nothing was frozen."""

    async def plug(
        self, plan_dir: Path, machine: Machine, device: BlockDevice | PassedDevice
    ) -> Place:
        return Place(pci_path="01/01")

    async def unplug(self, plan_dir: Path, machine: Machine, name: str) -> None:
        """Nothing was plugged in."""

    async def size(self, plan_dir: Path, machine: Machine) -> Size:
        return Size(vcpus=machine.vcpus, memory=machine.memory)

    async def resize(
        self, plan_dir: Path, machine: Machine, config: HypervisorConfig, wanted: Size
    ) -> Size:
        return Size(vcpus=wanted.vcpus, memory=max(wanted.memory, machine.memory))

    async def plug_network(
        self, plan_dir: Path, machine: Machine, netns: Path, endpoint: Endpoint
    ) -> Place:
        return Place(pci_path=f"01/{endpoint.index + 2:02x}")

    async def unplug_network(self, plan_dir: Path, machine: Machine, endpoint: Endpoint) -> None:
        """Nothing was plugged in."""

    def alive(self, machine: Machine) -> bool:
        return machine.uuid not in self._stopped
