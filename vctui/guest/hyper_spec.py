"""Pure: hyperstart's JSON → messages of the agent that makes the containers (sheet §4)."""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "mode=755")),
    ("/dev/pts", "devpts", "devpts", ("newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "nodev", "mode=1777")),  # noqa: S108
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
)
CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
        *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
    )
]
"""Of a process that is given none: those of Clear Containers' agent."""
_DEFAULT = ("", "default", "any", "all")
_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def share(tag: str, mount_point: str) -> Any:
    return message("Storage")(
        driver="9p",
        source=tag,
        fstype="9p",
        options=["trans=virtio,version=9p2000.L,cache=mmap", "nodev", "msize=262144"],
        mount_point=f"{mount_point}/",
    )


def container(told: dict[str, Any], shared: str, disks: str) -> Any:
    """CreateContainerRequest.

    Args:
        shared: where the pod's share is mounted.
        disks: where root file systems on disks are to be.
    """
    container_id = told["id"]
    storages = [_disk(told, f"{disks}/{container_id}")] if told.get("fstype") else []
    image = f"{disks}/{container_id}" if storages else f"{shared}/{told['image']}"
    mounts = [
        message("Mount")(destination=path, type=kind, source=source, options=list(options))
        for path, kind, source, options in MOUNTS
    ]
    mounts += [_bind(each, shared) for each in told.get("fsmap", ())]
    limits = told.get("constraints", {})
    spec = message("Spec")(
        process=process(told["process"]),
        root=message("Root")(
            Path=f"{image}/{told['rootfs']}", Readonly=bool(told.get("readOnly", False))
        ),
        Mounts=mounts,
        linux=message("Linux")(
            Namespaces=[message("LinuxNamespace")(Type="mount")],
            Resources=message("LinuxResources")(
                CPU=message("LinuxCPU")(
                    Quota=limits.get("CPUQuota", 0),
                    Period=limits.get("CPUPeriod", 0),
                    Shares=limits.get("CPUShares", 0),
                )
            ),
            Sysctl={name: str(value) for name, value in told.get("sysctl", {}).items()},
        ),
    )
    return message("CreateContainerRequest")(
        container_id=container_id,
        exec_id=container_id,
        string_user=user(told["process"]),
        storages=storages,
        OCI=spec,
    )


def process(told: dict[str, Any]) -> Any:
    given = told.get("capabilities", {})
    sets = (
        {name: given.get(name, []) for name in _SETS}
        if given.get("bounding")
        else dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    )
    return message("Process")(
        Terminal=bool(told.get("terminal", False)),
        Args=list(told["args"]),
        Env=[f"{each['env']}={each['value']}" for each in told.get("envs", ())],
        Cwd=told.get("workdir", "") or "/",
        NoNewPrivileges=bool(told.get("noNewPrivileges", False)),
        Capabilities=message("LinuxCapabilities")(
            **{name.capitalize(): list(names) for name, names in sets.items()}
        ),
    )


def user(told: dict[str, Any]) -> Any:
    return message("StringUser")(
        uid=told.get("user", ""),
        gid=told.get("group", ""),
        additionalGids=list(told.get("additionalGroups", ())),
    )


def interface(told: dict[str, Any]) -> tuple[str, Any]:
    """What it is called now, "" where only its MAC tells, and the Interface that it is to be."""
    device = told.get("device", "")
    addresses = told.get("ipAddresses") or []
    if told.get("ipAddress"):
        addresses = [*addresses, told]
    return device, message("Interface")(
        name=told.get("newDeviceName", "") or device,
        hwAddr=told.get("macAddr", ""),
        mtu=int(told.get("mtu", 0)),
        IPAddresses=[
            message("IPAddress")(address=each["ipAddress"], mask=_length(each["netMask"]))
            for each in addresses
        ],
    )


def routes(told: list[dict[str, Any]]) -> list[Any]:
    return [
        message("Route")(
            dest="" if each.get("dest", "") in _DEFAULT else each["dest"],
            gateway=each.get("gateway", ""),
            device=each.get("device", ""),
            source=each.get("src", ""),
        )
        for each in told
    ]


def _length(mask: str) -> str:
    """Of a prefix, which may be told as a dotted mask."""
    return str(sum(int(part).bit_count() for part in mask.split("."))) if "." in mask else mask


def _disk(told: dict[str, Any], mount_point: str) -> Any:
    address = told.get("addr") or told.get("scsiAddr")
    if not address:
        raise AgentError("a root file system on a disk needs the disk's SCSI address")
    return message("Storage")(
        driver="scsi", source=address, fstype=told["fstype"], mount_point=mount_point
    )


def _bind(told: dict[str, Any], shared: str) -> Any:
    access = "ro" if told.get("readOnly") else "rw"
    source = told["source"]
    return message("Mount")(
        destination=told["path"],
        type="bind",
        source=source if told.get("absolutePath") else f"{shared}/{source}",
        options=["rbind", "rprivate", access],
    )
