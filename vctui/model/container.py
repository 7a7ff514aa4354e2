"""ContainerConfig, Cmd, Process, ContainerStatus (virtcontainers 1.0 API document)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from vctui.model.device import DeviceInfo
from vctui.model.hook import Hook
from vctui.model.kinds import ProcessListFormat
from vctui.model.linux import ContainerResources, Linux, Rlimit
from vctui.model.state import State


class EnvVar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """API: EnvVar. A variable of a process's environment."""

    var: str
    """Its name."""
    value: str = ""
    """Its value."""

    def __str__(self) -> str:
        return f"{self.var}={self.value}"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: LinuxCapabilities; names like CAP_NET_ADMIN. None means: the usual container set."""

    bounding: tuple[str, ...] = ()
    """What no program in it can go beyond."""
    effective: tuple[str, ...] = ()
    """What counts now."""
    inheritable: tuple[str, ...] = ()
    """What programs with file capabilities may keep."""
    permitted: tuple[str, ...] = ()
    """What it may make effective."""
    ambient: tuple[str, ...] = ()
    """What programs without file capabilities keep."""


class Cmd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: Cmd. A command to run in a container."""

    args: tuple[str, ...] = ()
    """Empty only for a container on an image, which then says what to run."""
    envs: tuple[EnvVar, ...] = ()
    """In pod files also written as `NAME=value`."""
    work_dir: str = ""
    """Absolute, in the container; "" is the image's, else `/`."""
    user: str = ""
    """Name or number, also `USER:GROUP`; looked up in the container's own databases."""
    primary_group: str = ""
    """Name or number; empty means the user's."""
    supplementary_groups: tuple[str, ...] = ()
    """Names or numbers."""
    interactive: bool = False
    """Keep standard input open and give the process a terminal."""
    stdin: bool = False
    """Keep the standard input open without a terminal, for who attaches: otherwise that of a
    container's first process, and of a detached one, is at its end."""
    console: str = ""
    """Path of a terminal of the host that the process's input and output are connected to."""
    detach: bool = False
    """Whoever starts it does not attach to it. Nobody attaches to the first process of a container
    by starting it, so that one is always detached."""
    no_new_privileges: bool = False
    """Programs that set a user id gain nothing by it."""
    capabilities: Capabilities | None = None
    """None means: the usual container set."""
    rlimits: tuple[Rlimit, ...] = ()
    """Limits of the process; of open files 1,024, where it says nothing else."""
    oom_score_adj: int = 0
    """-1000 to 1000: the higher, the sooner the kernel kills it for want of memory."""


class Mount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: Mount. `bind` (a host folder or file), `volume` (one of the pod's, by its tag), `tmpfs`,
    `empty-dir` (a folder of the pod, named by `source`, which its containers share) and
    `memory-dir` (the same in the machine's memory, for as long as one of them is there) are
    supported types."""

    destination: str
    """Absolute path in the container."""
    source: str = ""
    """What is mounted: its meaning depends on the type."""
    type: str = "bind"
    """`bind`, `volume`, `tmpfs`, `empty-dir` or `memory-dir`."""
    options: tuple[str, ...] = ()
    """As mount(8) has them."""
    host_path: str = ""
    """Where the host shows it to the guest, while the container runs; reported, not chosen."""
    read_only: bool = False
    """The container cannot write to it."""


class ContainerConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
):
    """API: ContainerConfig. A container of a pod."""

    id: str
    """Unique in its pod."""
    rootfs: str = ""
    """A host folder, a block device, or the name of a built-in root file system (`busybox`)."""
    image: str = ""
    """Instead of `rootfs`: NAME:TAG of an image in the local store."""
    entrypoint: tuple[str, ...] | None = None
    """Takes the place of the image's entry point and command; what `cmd` has follows it."""
    cmd: Cmd = Cmd()
    """Its first process."""
    readonly_rootfs: bool = False
    """It cannot write to its root file system."""
    mounts: tuple[Mount, ...] = ()
    """What it sees besides its root file system."""
    device_infos: tuple[DeviceInfo, ...] = ()
    """Devices that it has besides the usual ones."""
    resources: ContainerResources = ContainerResources()
    """Its limits. A machine grows for a container that is added to a running pod."""
    linux: Linux = Linux()
    """What it sees and may change of the guest's kernel."""
    start_hooks: tuple[Hook, ...] = ()
    """Programs in the container that run before its first process, each time it starts; the first
    that fails ends the start (OCI: `startContainer`)."""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    """Kept and shown."""


class Process(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """API: Process. A container's first process, or one that was added with exec."""

    token: str
    """Unique in the pod: the container's id for its first process, random for others."""
    pid: int
    """Host process that stands for it: the shim; our monitor for the built-in shim."""
    start_time: datetime
    """When its shim was started."""


class ProcessListOptions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
):
    """API: ProcessListOptions. Empty `args` means `-ef`."""

    format: ProcessListFormat = ProcessListFormat.TABLE
    """How the list is written."""
    args: tuple[str, ...] = ()
    """Arguments of ps(1)."""


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """API: ContainerStatus, and what an operator asks next."""

    id: str
    """Unique in its pod."""
    state: State
    """What can be done with it now."""
    pid: int
    """Host process that stands for it; 0 where none does."""
    start_time: datetime | None
    """Of its last start; None before the first."""
    rootfs: str
    """As it was configured."""
    annotations: dict[str, str]
    """As they were configured."""
    pod_id: str
    """The pod it is in."""
    args: tuple[str, ...]
    """Its command."""
    terminal: bool
    """Its first process has a terminal."""
    exit_code: int | None
    """As a shell gives it: 0-255, 128+N for signal N."""
    reason: str
    """Why it ended, where that is not plain; "" otherwise."""
    finished_time: datetime | None
    """Of its last end."""
    image: str = ""
    """The image it is on; "" for a root file system of its own."""
    devices: tuple[DeviceInfo, ...] = ()
    """Those that the machine was given for it."""
    mounts: tuple[Mount, ...] = ()
    """With their places on the host, while it runs."""


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the store keeps of a container."""

    config: ContainerConfig
    state: State = State.READY
    process: Process | None = None
    exit_code: int | None = None
    reason: str = ""
    finished: datetime | None = None
    mounts: tuple[Mount, ...] = ()
    """Those of its last start, with their places on the host."""
    devices: tuple[DeviceInfo, ...] = ()
    """Those that were plugged into the machine for it, under their ids; kept from before the
    plugging until after the unplugging."""

    @property
    def id(self) -> str:
        return self.config.id


class ExecRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the store keeps of a process that was added with exec (API: EnterContainer)."""

    container_id: str
    cmd: Cmd
    process: Process
    exit_code: int | None = None
    finished: datetime | None = None
