"""Hypervisor: what every hypervisor promises (virtcontainers' hypervisor interface)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import msgspec

from vctui.model.hypervisor import HypervisorConfig, Machine
from vctui.model.kinds import Accelerator, BlockDeviceDriver, SocketType
from vctui.model.network import Endpoint


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A virtio-serial port: a name in the guest, a unix socket on the host."""

    name: str
    socket: Path


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A host folder that the guest can mount by tag."""

    tag: str
    path: Path
    socket: Path | None = None
    """Where a program listens that serves it (virtio-fs); None: the hypervisor does so itself, by
    virtio-9p."""


class BlockDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A block device of the host that a running machine is given as a disk."""

    name: str
    """What it is called from now on; 23 characters at most."""
    path: Path
    driver: BlockDeviceDriver = BlockDeviceDriver.VIRTIO_BLK
    read_only: bool = False


class PassedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A PCI device of the host that a running machine is given as it is (VFIO)."""

    name: str
    """What it is called from now on; begins with `vfio-`."""
    address: str
    """On the host's bus, `0000:01:00.0`."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the guest finds a device that was plugged in: one of these."""

    pci_path: str = ""
    """Slots from the root bus on, `02/00/01`."""
    scsi_address: str = ""
    """`ID:LUN` on the machine's SCSI controller."""


class SavedGuest(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that was stopped and saved: where it goes on, any number of machines begin."""

    memory: Path
    """What is in its memory; machines change copies of their own."""
    state: Path
    """Of its processors and devices."""
    console: Path
    """What it has said on its serial console so far."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Of a machine."""

    BLOCK: ClassVar[int] = 128
    """MiB that a running machine is given memory in: what Linux on x86 takes it in, in machines of
    less than 64 GiB."""

    vcpus: int
    memory: int
    """MiB."""


class TemplateFit(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a machine can begin as a saved guest."""

    key: str = ""
    """The same for all machines that one saved guest serves; "" where none does."""
    why_cold: str = ""
    """Why none does, in words that follow "as"."""
    most: Size = Size(vcpus=0, memory=0)
    """What the machine can be resized to once it runs."""


class MachinePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a virtual machine is started from; nothing is looked up later."""

    pod_id: str
    uuid: str
    run_dir: Path
    """The pod's folder for sockets and logs: `ctl.sock`, `mon.sock`, `serial.sock`, `qemu.log`."""
    config: HypervisorConfig
    hypervisor_path: str
    accelerator: Accelerator
    """AUTO is settled by the hypervisor."""
    kernel: Path | None
    initrd: Path | None
    image: Path | None
    """The disk image with the guest's root file system."""
    kernel_params: tuple[str, ...]
    """From guest and agent; those of `config` come after them."""
    vcpus: int
    memory: int
    """MiB."""
    min_memory: int
    """MiB below which this guest does not boot; 0 where unknown."""
    ports: tuple[Port, ...] = ()
    shares: tuple[Share, ...] = ()
    memory_file: Path | None = None
    """Where the machine's memory lies, for a guest that is to be saved; as large as it."""
    restores: SavedGuest | None = None
    """The guest that the machine goes on as, instead of booting."""
    netns: Path | None = None
    """The network namespace that the machine is started in; None for the host's."""
    apart: bool = False
    """Start it in a namespace of its own instead, where we may: whose network it gets is not known
    yet."""
    endpoints: tuple[Endpoint, ...] = ()
    """Network cards it has from the start; their taps are in `netns`."""
    socket_type: SocketType = SocketType.UNIX
    """How the agent is reached; anything but `unix` gives the machine a vsock device."""

    @property
    def shares_memory(self) -> bool:
        """Whether programs of the host that serve the machine's devices (vhost-user) read and write
        in its memory; so it has to be one that can be mapped twice."""
        served = [*(one.socket for one in self.endpoints), *(one.socket for one in self.shares)]
        return any(served) or self.socket_type.is_vsock


class Hypervisor(ABC):
    @abstractmethod
    def check(self, plan: MachinePlan) -> None:
        """Look for what can be wrong before anything is made.

        Raises:
            MissingProgram, InvalidConfig, GuestNotBuilt: each with its remedy.
        """

    @abstractmethod
    async def start(self, plan: MachinePlan) -> Machine:
        """Launch the machine; its sockets accept connections on return.

        Raises:
            MachineDied: with the last lines it wrote. Nothing is left running.
        """

    @abstractmethod
    async def template_fit(self, plan: MachinePlan) -> TemplateFit:
        """Whether there can be a saved guest for the plan, and under which key.

        The key takes up everything that shapes the machine, and nothing that differs between
        pods: their names and folders.
        """

    @abstractmethod
    async def opened(self, plan_dir: Path, machine: Machine, port: str) -> None:
        """Return when the guest has opened its end of the port.

        Raises:
            MachineDied: it ended before.
        """

    @abstractmethod
    async def save(self, plan_dir: Path, machine: Machine, state: Path) -> None:
        """Freeze a machine with a `memory_file` and write the rest of it to `state`.

        What it has said on its serial console stands in `plan_dir`/console.log.

        Raises:
            HypervisorError: it cannot be saved.
        """

    @abstractmethod
    async def stop(self, plan_dir: Path, machine: Machine, *, timeout: float) -> None:
        """End the machine: politely over its control socket, then by signal. Idempotent."""

    @abstractmethod
    async def pause(self, plan_dir: Path, machine: Machine) -> None:
        """Freeze the vCPUs."""

    @abstractmethod
    async def resume(self, plan_dir: Path, machine: Machine) -> None: ...

    @abstractmethod
    async def plug(
        self, plan_dir: Path, machine: Machine, device: BlockDevice | PassedDevice
    ) -> Place:
        """Give the running machine a device. The caller holds the pod alone.

        Raises:
            HypervisorError: it cannot be; nothing of it is left.
        """

    @abstractmethod
    async def unplug(self, plan_dir: Path, machine: Machine, name: str) -> None:
        """Take a device away again, and return when the guest has let go of it. Idempotent, also
        where an earlier call was cut off at any point.

        Raises:
            HypervisorError: the guest does not let go of it.
        """

    @abstractmethod
    async def size(self, plan_dir: Path, machine: Machine) -> Size:
        """What the running machine has, whatever its record says. Raises HypervisorError."""

    @abstractmethod
    async def resize(
        self, plan_dir: Path, machine: Machine, config: HypervisorConfig, wanted: Size
    ) -> Size:
        """Give the running machine processors and memory, or take processors away.

        Processors that it booted with stay, and so do all of a machine that `keeps_vcpus`. Memory
        is never taken away: guests seldom let go of it. The guest uses what it was given once its
        agent is told. Idempotent, also where an earlier call was cut off at any point.

        Args:
            config: of the pod, for the kind of memory.
            wanted: within the machine's `max_vcpus` and `max_memory`.

        Returns:
            What the machine has now: memory comes in blocks.

        Raises:
            HypervisorError: it cannot be, or only in part; what was plugged in stays.
        """

    @abstractmethod
    async def plug_network(
        self, plan_dir: Path, machine: Machine, netns: Path, endpoint: Endpoint
    ) -> Place:
        """Give the running machine a network card for the endpoint: on its tap, which is in
        `netns`, on the socket that serves it, or the host's own.

        Raises:
            HypervisorError, HostProblem: it cannot be; nothing of it is left.
        """

    @abstractmethod
    async def unplug_network(self, plan_dir: Path, machine: Machine, endpoint: Endpoint) -> None:
        """Take the card away, as `unplug` does with other devices."""

    @abstractmethod
    def alive(self, machine: Machine) -> bool:
        """Whether the machine's process still is the one that was started. No waiting."""
