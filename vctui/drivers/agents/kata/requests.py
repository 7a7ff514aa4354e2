"""Model → messages of the Kata agent's protocol. Pure.

The OCI spec is complete enough for any agent of that protocol, not only for ours
(kata-agent ttrpc sheet §3, §4 and §7; what real agents insist on: real-peers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from vctui.drivers.agents.base import ContainerSpec, GuestDevice, GuestDisk
from vctui.drivers.agents.kata.ports import SHARE_TAG
from vctui.drivers.hypervisors.base import Place
from vctui.model.capabilities import USUAL
from vctui.model.container import Capabilities, Cmd, ContainerConfig, Mount
from vctui.model.device import DeviceInfo
from vctui.model.kinds import DeviceType, SharedFs
from vctui.model.linux import PERIOD, DeviceRule
from vctui.model.seccomp import Seccomp
from vctui.wire import proto

if TYPE_CHECKING:
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import guest_pb2
    from vctui.wire.pb import oci_pb2 as oci
else:
    agent = guest_pb2 = oci = proto.messages

GUEST_SHARE: Final = "/run/kata-containers/shared/containers/"
"""Where the guest mounts the pod's share."""
GUEST_MEMORY: Final = "/run/kata-containers/sandbox/ephemeral/"
"""Where the guest has folders in its memory that containers share."""
GUEST_VOLUMES: Final = "/run/kata-containers/shared/volumes/"
"""Where the guest mounts the pod's volumes, each below its tag."""
GUEST_DISKS: Final = "/run/kata-containers/shared/disks/"
"""Where the guest mounts root file systems on disks, each below its container's id."""
MAX_HOSTNAME: Final = 64

_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TERM: Final = "TERM=xterm"

_MOUNTS: Final = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    # a tmpfs: device nodes cannot be made on 9p
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),  # noqa: S108
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    # without it a kata-agent cannot exec
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)
"""Destination, type, source, options."""

_NAMESPACES: Final = ("ipc", "uts", "mount")
"""The agent adds `pid` itself, and the network is the guest's (sheet §7)."""

_MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
_READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_ANY: Final = -1
_NO_DEVICES: Final = DeviceRule(allow=False)
_Rule: TypeAlias = tuple[bool, str, int, int, str]
"""Allow, type, major, minor, access."""
_DEVICE_RULES: Final[tuple[_Rule, ...]] = (
    (True, "c", _ANY, _ANY, "m"),
    (True, "b", _ANY, _ANY, "m"),
    (True, "c", 1, 3, "rwm"),  # null
    (True, "c", 1, 5, "rwm"),  # zero
    (True, "c", 1, 7, "rwm"),  # full
    (True, "c", 1, 8, "rwm"),  # random
    (True, "c", 1, 9, "rwm"),  # urandom
    (True, "c", 5, 0, "rwm"),  # tty
    (True, "c", 5, 1, "rwm"),  # console
    (True, "c", 5, 2, "rwm"),  # ptmx
    (True, "c", 136, _ANY, "rwm"),  # pts
)
"""What every container may do."""
_FILE_MODE: Final = 0o666
_Message = TypeVar("_Message", oci.LinuxMemory, oci.LinuxCPU, oci.LinuxPids)
_NOFILE: Final = "RLIMIT_NOFILE"
_PASSED: Final = "vfio-pci-gk"
"""The agents' word for a device that was passed through and that the guest's kernel drives."""
_OPEN_FILES: Final = 1024


def create_sandbox(
    pod_id: str,
    hostname: str,
    dns: Sequence[str] = (),
    shared_fs: SharedFs = SharedFs.NINE_P,
    volumes: Sequence[str] = (),
) -> agent.CreateSandboxRequest:
    """`dns`: lines of a resolv.conf. `volumes`: their tags. A channel of 9p serves one mount, and
    not every agent counts who asks for it (sheet §6.3), so that the sandbox has them."""
    folders = {SHARE_TAG: GUEST_SHARE, **{tag: f"{GUEST_VOLUMES}{tag}/" for tag in volumes}}
    return agent.CreateSandboxRequest(
        hostname=hostname[:MAX_HOSTNAME],
        sandbox_id=pod_id,
        storages=[_shared(shared_fs, tag, folder) for tag, folder in folders.items()],
        dns=dns,
    )


def create_container(spec: ContainerSpec) -> agent.CreateContainerRequest:
    container_id = spec.config.id
    return agent.CreateContainerRequest(
        container_id=container_id,
        exec_id=container_id,
        string_user=string_user(spec.config.cmd),
        storages=storages(spec),
        devices=[_plugged(device, device.place) for device in spec.devices if device.place],
        OCI=oci_spec(spec),
    )


def storages(spec: ContainerSpec) -> list[agent.Storage]:
    """The disk of its root file system, and the folders in memory that it mounts, each once; the
    agent counts who uses those."""
    in_memory: dict[str, Mount] = {}
    for mount in spec.config.mounts:
        if mount.type == "memory-dir":
            in_memory.setdefault(mount.source, mount)
    folders = [
        agent.Storage(
            driver="ephemeral",
            source="tmpfs",
            fstype="tmpfs",
            options=mount.options,
            mount_point=GUEST_MEMORY + name,
        )
        for name, mount in in_memory.items()
    ]
    return folders if spec.disk is None else [_root_disk(spec.config.id, spec.disk), *folders]


def rootfs(spec: ContainerSpec) -> str:
    """Where the guest has the container's root file system."""
    if spec.disk is None:
        return GUEST_SHARE + spec.rootfs
    return f"{GUEST_DISKS}{spec.config.id}/{spec.disk.folder}".rstrip("/")


def exec_process(container_id: str, token: str, cmd: Cmd) -> agent.ExecProcessRequest:
    return agent.ExecProcessRequest(
        container_id=container_id,
        exec_id=token,
        string_user=string_user(cmd),
        process=process(cmd),
    )


def oci_spec(spec: ContainerSpec) -> oci.Spec:
    config = spec.config
    hidden, fixed = config.linux.masked_paths, config.linux.readonly_paths
    return oci.Spec(
        Version="1.0.2",
        process=process(config.cmd),
        root=oci.Root(Path=rootfs(spec), Readonly=config.readonly_rootfs),
        Hostname=spec.hostname[:MAX_HOSTNAME],
        Mounts=mounts(spec),
        Annotations=config.annotations,
        hooks=hooks(config),
        linux=oci.Linux(
            Resources=resources(spec),
            Devices=[_device(device.info) for device in spec.devices if not device.passed],
            CgroupsPath=f"/vctui/{config.id}",
            Namespaces=[oci.LinuxNamespace(Type=kind) for kind in _NAMESPACES],
            MaskedPaths=_MASKED if hidden is None else hidden,
            ReadonlyPaths=_READ_ONLY if fixed is None else fixed,
            Sysctl=config.linux.sysctl,
            RootfsPropagation=config.linux.rootfs_propagation,
            Seccomp=seccomp(config.linux.seccomp),
        ),
    )


def prepare() -> guest_pb2.PrepareRequest:
    """For a guest of ours that is going to be saved."""
    return guest_pb2.PrepareRequest(devices=_device_rules())


def resources(spec: ContainerSpec) -> oci.LinuxResources:
    """Limits and device rules. They must not be absent, or an agent falls over."""
    wanted = spec.config.resources
    return oci.LinuxResources(
        Devices=_device_rules(wanted.devices, _own_rules(spec)),
        Memory=_given(
            oci.LinuxMemory(Limit=wanted.memory_limit, Reservation=wanted.memory_reservation)
        ),
        CPU=_given(
            oci.LinuxCPU(
                Quota=max(0, wanted.cpu_quota),
                Period=wanted.cpu_period or (PERIOD if wanted.cpu_quota > 0 else 0),
                Shares=wanted.cpu_shares,
            )
        ),
        Pids=_given(oci.LinuxPids(Limit=wanted.pids_limit)),
        HugepageLimits=[
            oci.LinuxHugepageLimit(Pagesize=size, Limit=limit)
            for size, limit in wanted.hugepage_limits.items()
        ],
    )


def seccomp(wanted: Seccomp | None) -> oci.LinuxSeccomp | None:
    if wanted is None:
        return None
    return oci.LinuxSeccomp(
        DefaultAction=wanted.default_action,
        Architectures=wanted.architectures,
        Flags=wanted.flags,
        Syscalls=[
            oci.LinuxSyscall(
                Names=rule.names,
                Action=rule.action,
                errnoret=rule.errno_ret,
                Args=[
                    oci.LinuxSeccompArg(
                        Index=arg.index, Value=arg.value, ValueTwo=arg.value_two, Op=arg.op
                    )
                    for arg in rule.args
                ],
            )
            for rule in wanted.syscalls
        ],
    )


def hooks(config: ContainerConfig) -> oci.Hooks | None:
    """Those that run in the container; the pod's are the host's."""
    if not config.start_hooks:
        return None
    return oci.Hooks(
        StartContainer=[
            oci.Hook(
                Path=hook.path, Args=hook.args or (hook.path,), Env=hook.env, Timeout=hook.timeout
            )
            for hook in config.start_hooks
        ]
    )


def process(cmd: Cmd) -> oci.Process:
    return oci.Process(
        Terminal=cmd.interactive,
        user=user(cmd),
        Args=cmd.args,
        Env=environment(cmd),
        Cwd=cmd.work_dir or "/",
        Capabilities=capabilities(cmd.capabilities),
        Rlimits=rlimits(cmd),
        OOMScoreAdj=cmd.oom_score_adj,
        NoNewPrivileges=cmd.no_new_privileges,
    )


def rlimits(cmd: Cmd) -> list[oci.POSIXRlimit]:
    """What the command asks for, and the usual limit of open files unless it names that."""
    given = [oci.POSIXRlimit(Type=one.type, Hard=one.hard, Soft=one.soft) for one in cmd.rlimits]
    if any(one.type == _NOFILE for one in cmd.rlimits):
        return given
    return [*given, oci.POSIXRlimit(Type=_NOFILE, Hard=_OPEN_FILES, Soft=_OPEN_FILES)]


def environment(cmd: Cmd) -> list[str]:
    """What the command asks for, with defaults for PATH and, on a terminal, TERM."""
    given = {each.var for each in cmd.envs}
    defaults = [] if "PATH" in given else [_PATH]
    if cmd.interactive and "TERM" not in given:
        defaults.append(_TERM)
    return defaults + [str(each) for each in cmd.envs]


def identity(cmd: Cmd) -> tuple[str, str]:
    """User and group as the operator wrote them; `primary_group` wins over `USER:GROUP`."""
    name, _, group = cmd.user.partition(":")
    return name, cmd.primary_group or group


def user(cmd: Cmd) -> oci.User:
    """Numbers where numbers were given; names are for the agent to look up in the container."""
    name, group = identity(cmd)
    return oci.User(
        UID=_number(name),
        GID=_number(group),
        AdditionalGids=[int(each) for each in cmd.supplementary_groups if each.isdecimal()],
        Username=name,
    )


def string_user(cmd: Cmd) -> agent.StringUser | None:
    """None where the command asks for nobody in particular."""
    name, group = identity(cmd)
    if not (name or group or cmd.supplementary_groups):
        return None
    return agent.StringUser(uid=name, gid=group, additionalGids=cmd.supplementary_groups)


def capabilities(wanted: Capabilities | None) -> oci.LinuxCapabilities:
    if wanted is None:
        return oci.LinuxCapabilities(Bounding=USUAL, Effective=USUAL, Permitted=USUAL)
    return oci.LinuxCapabilities(
        Bounding=wanted.bounding,
        Effective=wanted.effective,
        Inheritable=wanted.inheritable,
        Permitted=wanted.permitted,
        Ambient=wanted.ambient,
    )


def mounts(spec: ContainerSpec) -> list[oci.Mount]:
    """The usual ones, then the container's own in their order."""
    own = {mount.destination for mount in spec.config.mounts}
    shared = {each.mount: each.shared for each in spec.mounts}
    usual = [
        oci.Mount(destination=destination, type=kind, source=source, options=options)
        for destination, kind, source, options in _MOUNTS
        if destination not in own
    ]
    return usual + [_own_mount(mount, shared) for mount in spec.config.mounts]


def _own_mount(mount: Mount, shared: dict[Mount, str]) -> oci.Mount:
    access = "ro" if mount.read_only else "rw"
    if mount.type == "tmpfs":
        options = ("nosuid", "nodev", *mount.options, access)
        source = "tmpfs"
    elif mount.type == "memory-dir":
        options = ("rbind", "rprivate", access)
        source = GUEST_MEMORY + mount.source
    else:
        options = ("rbind", "rprivate", *mount.options, access)
        volume = mount.type == "volume"
        source = GUEST_VOLUMES + mount.source if volume else GUEST_SHARE + shared[mount]
    return oci.Mount(
        destination=mount.destination,
        type="tmpfs" if mount.type == "tmpfs" else "bind",
        source=source,
        options=dict.fromkeys(options),
    )


def _root_disk(container_id: str, disk: GuestDisk) -> agent.Storage:
    kind, where = _driver(disk.place)
    # without what asks for writing: a journal that is to be replayed, the id of an XFS in use
    unwritten = {"ext4": ("noload",), "xfs": ("norecovery",)}
    read_only = ("ro", *unwritten.get(disk.filesystem, ())) if disk.read_only else ()
    again = ("nouuid",) if disk.filesystem == "xfs" else ()
    return agent.Storage(
        driver=kind,
        source=where,
        fstype=disk.filesystem,
        options=(*read_only, *again),
        mount_point=GUEST_DISKS + container_id,
    )


def _driver(place: Place) -> tuple[str, str]:
    """The agents' word for how a disk is attached, and where it is."""
    return ("scsi", place.scsi_address) if place.scsi_address else ("blk", place.pci_path)


def _plugged(device: GuestDevice, place: Place) -> agent.Device:
    path = device.info.container_path
    if device.passed:
        options = [f"{device.passed}={place.pci_path}"]
        return agent.Device(id=device.info.id, type=_PASSED, container_path=path, options=options)
    kind, where = _driver(place)
    return agent.Device(id=where, type=kind, container_path=path)


def _device(info: DeviceInfo) -> oci.LinuxDevice:
    """One that was plugged in has the host's numbers here; the agent puts the guest's."""
    return oci.LinuxDevice(
        Path=info.container_path,
        Type=info.dev_type,
        Major=info.major,
        Minor=info.minor,
        FileMode=info.file_mode or _FILE_MODE,
        UID=info.uid,
        GID=info.gid,
    )


def _device_rules(
    asked: Sequence[DeviceRule] = (), own: Sequence[_Rule] = ()
) -> list[oci.LinuxDeviceCgroup]:
    """
    Args:
        asked: what the container asks for, first; by default that nothing is allowed.
        own: of the devices that it is given.
    """
    first = [
        (rule.allow, rule.type, rule.major, rule.minor, rule.access)
        for rule in asked or (_NO_DEVICES,)
    ]
    return [
        oci.LinuxDeviceCgroup(Allow=allow, Type=kind, Major=major, Minor=minor, Access=access)
        for allow, kind, major, minor, access in (*first, *_DEVICE_RULES, *own)
    ]


def _own_rules(spec: ContainerSpec) -> list[_Rule]:
    kinds = {DeviceType.CHARACTER: "c", DeviceType.UNBUFFERED: "c", DeviceType.BLOCK: "b"}
    return [
        (True, kinds[device.info.dev_type], device.info.major, device.info.minor, "rwm")
        for device in spec.devices
        if device.info.dev_type in kinds and not device.passed
    ]


def _given(message: _Message) -> _Message | None:
    """None for a message that says nothing."""
    return message if message.SerializeToString() else None


def _shared(how: SharedFs, tag: str, mount_point: str) -> agent.Storage:
    """A folder of the host (sheets §6.3, §7.3). 1.x makes a mount point that ends with a slash."""
    if how is SharedFs.VIRTIO_FS:
        return agent.Storage(
            driver="virtio-fs",
            source=tag,
            fstype="virtiofs",
            options=["nodev"],
            mount_point=mount_point,
        )
    return agent.Storage(
        driver="9p",
        source=tag,
        fstype="9p",
        options=["trans=virtio,version=9p2000.L,cache=mmap", "nodev", "msize=262144"],
        mount_point=mount_point,
    )


def _number(text: str) -> int:
    """A 32-bit id; 0 for a name."""
    return int(text) if text.isdecimal() and int(text) < 2**32 else 0
