"""Agent: what every guest agent promises (virtcontainers' agent interface)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from vctui.drivers.hypervisors.base import Place, Port, Share
from vctui.errors import AgentUnsupported
from vctui.model.agent import AgentConfig
from vctui.model.container import Cmd, ContainerConfig, Mount, ProcessListOptions
from vctui.model.device import DeviceInfo
from vctui.model.kinds import SharedFs
from vctui.model.network import PodNetwork
from vctui.model.timeline import Step
from vctui.wire import ttrpc


class GuestNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine must have for the agent to be reached, before it boots."""

    ports: tuple[Port, ...] = ()
    shares: tuple[Share, ...] = ()
    kernel_params: tuple[str, ...] = ()


class Needs(Protocol):
    """See `Agent.needs`."""

    def __call__(
        self, run_dir: Path, share_dir: Path, config: AgentConfig, *, debug: bool
    ) -> GuestNeeds: ...


class SharedMount(msgspec.Struct, frozen=True, kw_only=True):
    """A bind mount whose host side lies in the pod's share at `shared` (relative path)."""

    mount: Mount
    shared: str


class GuestDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the guest is to give it to a container."""

    info: DeviceInfo
    """With its numbers."""
    place: Place | None = None
    """Where one is that was plugged into the machine."""
    passed: str = ""
    """Address on the host's PCI bus of one that was passed through: the guest's kernel drives it,
    and the container has no node of it."""


class GuestDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that was plugged into the machine, with a container's root file system."""

    place: Place
    filesystem: str
    """As `mount -t` calls it."""
    folder: str = ""
    """Of that file system; "" for all of it."""
    read_only: bool = False


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the agent is to make it."""

    config: ContainerConfig
    hostname: str
    rootfs: str
    """Path of its root file system relative to the pod's share; "" where it is on a disk."""
    disk: GuestDisk | None = None
    """The disk that its root file system is on."""
    mounts: tuple[SharedMount, ...] = ()
    devices: tuple[GuestDevice, ...] = ()


class AgentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered."""

    version: str
    features: frozenset[str] = msgspec.field(default_factory=frozenset)
    protocol: str = ""
    """What it speaks."""
    storage_handlers: tuple[str, ...] = ()
    device_handlers: tuple[str, ...] = ()
    """What it says that it can mount and find; nothing where it does not say."""
    supports_seccomp: bool = False


class Agent(ABC):
    """One connection to one pod's agent. All calls raise AgentError or a subclass."""

    shim_first = False
    """A process that is added must be stood for before it is started, not after."""

    @staticmethod
    @abstractmethod
    def needs(run_dir: Path, share_dir: Path, config: AgentConfig, *, debug: bool) -> GuestNeeds:
        """`debug`: the whole guest is to be looked into, not only its agent."""

    @abstractmethod
    async def connect(self, url: str, *, timeout: float) -> None:
        """`url` is `unix:///path` of a proxy's socket, "" for an agent that needs none.

        Raises:
            AgentUnreachable: nobody listens there.
        """

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def info(self) -> AgentInfo: ...

    async def prepare(self) -> None:
        """Get ready what any pod needs, in a guest that is nobody's and is going to be saved."""
        await self.info()

    @abstractmethod
    async def start_sandbox(
        self,
        *,
        pod_id: str,
        hostname: str,
        network: PodNetwork | None = None,
        shared_fs: SharedFs = SharedFs.NINE_P,
        volumes: Sequence[str] = (),
    ) -> None:
        """Make the guest the pod's: network, share mounted, hostname, clock, entropy.

        Args:
            volumes: tags of the machine's folders of the host, for containers to mount.
        """

    @abstractmethod
    async def update_network(self, network: PodNetwork) -> None:
        """Give the guest's interfaces the addresses, routes and neighbours that the network has
        by now. Interfaces that were plugged in are waited for."""

    async def forget_interface(self, name: str) -> None:  # noqa: B027 - most see it go
        """An interface is going to be taken away from the machine."""

    def left_out(self, network: PodNetwork) -> str:
        """What of the network this agent cannot be told, in words; "" where it can be told all."""
        return ""

    @abstractmethod
    async def stop_sandbox(self) -> None:
        """A kata-agent that is PID 1 powers its guest off afterwards; a connection that
        drops is an answer."""

    @abstractmethod
    async def create_container(self, spec: ContainerSpec) -> None:
        """Raises CommandFailed where the command is not found or not executable."""

    @abstractmethod
    async def start_container(self, container_id: str) -> None:
        """Raises CommandFailed where the command is not found or not executable."""

    @abstractmethod
    async def remove_container(self, container_id: str, *, timeout: float) -> None: ...

    @abstractmethod
    async def exec(self, container_id: str, token: str, cmd: Cmd) -> None:
        """A detached process has its standard input at its end, unless `cmd` keeps it open.

        Raises CommandFailed as above.
        """

    @abstractmethod
    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        """Signal the process `token`, or every process of the container. A process that is
        already gone is no error."""

    @abstractmethod
    async def processes(self, container_id: str, options: ProcessListOptions) -> bytes:
        """Raises AgentUnsupported where the agent has no such call."""

    async def read_file(self, container_id: str, path: str) -> bytes:
        """A file of a running container, by its absolute path there.

        Raises AgentUnsupported where the agent has no such call.
        """
        raise AgentUnsupported("the agent reads no files", code=ttrpc.UNIMPLEMENTED)

    async def write_file(self, container_id: str, path: str, data: bytes) -> None:
        """Make or replace a file of a running container.

        Raises AgentUnsupported where the agent has no such call, or not for so many bytes.
        """
        raise AgentUnsupported("the agent writes no files", code=ttrpc.UNIMPLEMENTED)

    @abstractmethod
    async def online(self, *, vcpus: int, plugged: int) -> None:
        """Have the guest use processors, until `vcpus` are there, and memory that was plugged in.

        Args:
            plugged: how many of the processors it does not know of yet.

        Raises:
            AgentError: there are not so many after a while.
        """

    @abstractmethod
    async def set_clock(self) -> None:
        """Give the guest the host's time (after a pause)."""

    async def timeline(self) -> tuple[Step, ...]:
        """What took how long in the guest, with beginnings in seconds since the host booted
        (telemetry.trace.clock); nothing from an agent that does not measure."""
        return ()

    @abstractmethod
    async def stats(self, container_ids: Sequence[str]) -> dict[str, ContainerStats]: ...


class ContainerStats(msgspec.Struct, frozen=True, kw_only=True):
    cpu_ns: int
    memory_bytes: int
    pids: int
