"""Pure: the protocol's OCI messages → the documents that crun reads (OCI runtime specification).

What belongs to the pod and not to the container is changed on the way, as the Kata agent does:
the network is the guest's, IPC and host name are shared by the pod's containers (the guest's own),
PIDs are the container's own unless the pod shares them, and the cgroup is ours to name. Kernel
parameters are the guest's too, see `sysctl`.
"""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from vctui.guest.users import Identity
    from vctui.wire.pb import oci_pb2 as oci

_SHARED_NAMESPACES = {"network", "ipc", "uts", "pid"}
_VERSION = "1.0.2"


def container(
    spec: oci.Spec, *, identity: Identity, cgroup: str, pid_namespace: str = ""
) -> dict[str, Any]:
    """config.json of a container.

    Args:
        cgroup: its path in the hierarchy.
        pid_namespace: the PID namespace to join, "" for one of its own.

    Raises:
        AgentError: Linux, Root or Process are missing or say nothing.
    """
    for name in ("linux", "root", "process"):
        if not spec.HasField(name):
            raise AgentError(f"the container's OCI specification has no {name.capitalize()}")
    if not spec.root.Path:
        raise AgentError("the container's OCI specification has no Root.Path")
    document: dict[str, Any] = {
        "ociVersion": _VERSION,
        "process": process(spec.process, identity=identity),
        "root": {"path": spec.root.Path, "readonly": spec.root.Readonly},
        "mounts": [_mount(mount) for mount in spec.Mounts],
        "linux": _linux(spec.linux, cgroup, pid_namespace),
    }
    if spec.HasField("hooks"):
        document["hooks"] = _hooks(spec.hooks)
    if spec.Annotations:
        document["annotations"] = dict(spec.Annotations)
    return document


def process(message: oci.Process, *, identity: Identity) -> dict[str, Any]:
    """The process of a config.json, or the file of `crun exec --process`.

    Raises:
        AgentError: it has no arguments.
    """
    if not message.Args:
        raise AgentError("the process has no arguments", code=ttrpc.INVALID_ARGUMENT)
    if not message.Args[0]:
        raise AgentError("executable file `` not found in $PATH")
    for text in (*message.Args, *message.Env, message.Cwd):
        if "\0" in text:
            raise AgentError(
                "an argument, variable or folder of the process holds a NUL",
                code=ttrpc.INVALID_ARGUMENT,
            )
    user: dict[str, Any] = {"uid": identity.uid, "gid": identity.gid}
    if identity.groups:
        user["additionalGids"] = list(identity.groups)
    document: dict[str, Any] = {
        "terminal": message.Terminal,
        "user": user,
        "args": list(message.Args),
        "env": list(message.Env),
        "cwd": message.Cwd or "/",
        "noNewPrivileges": message.NoNewPrivileges,
    }
    size = message.ConsoleSize
    if message.Terminal and size.Height and size.Width:
        document["consoleSize"] = {"height": size.Height, "width": size.Width}
    if message.HasField("Capabilities"):
        sets = ("Bounding", "Effective", "Inheritable", "Permitted", "Ambient")
        document["capabilities"] = {
            name.lower(): list(getattr(message.Capabilities, name)) for name in sets
        }
    if message.Rlimits:
        document["rlimits"] = [
            {"type": limit.Type, "hard": limit.Hard, "soft": limit.Soft}
            for limit in message.Rlimits
        ]
    if message.OOMScoreAdj:
        document["oomScoreAdj"] = message.OOMScoreAdj
    return document


def _mount(mount: oci.Mount) -> dict[str, Any]:
    document: dict[str, Any] = {"destination": mount.destination, "source": mount.source}
    if mount.type:
        document["type"] = mount.type
    if mount.options:
        document["options"] = list(mount.options)
    return document


def _linux(linux: oci.Linux, cgroup: str, pid_namespace: str) -> dict[str, Any]:
    pids = {"type": "pid", "path": pid_namespace} if pid_namespace else {"type": "pid"}
    namespaces = [pids] + [
        {"type": space.Type, **({"path": space.Path} if space.Path else {})}
        for space in linux.Namespaces
        if space.Type not in _SHARED_NAMESPACES
    ]
    if not any(space["type"] == "mount" for space in namespaces):
        namespaces.append({"type": "mount"})
    document: dict[str, Any] = {"namespaces": namespaces, "cgroupsPath": cgroup}
    # we run without address space randomisation, so that emulated crun starts quickly; this gives
    # it back to the container
    document["personality"] = {"domain": "LINUX"}
    for name, mappings in (("uidMappings", linux.UIDMappings), ("gidMappings", linux.GIDMappings)):
        if mappings:
            document[name] = [
                {"hostID": each.HostID, "containerID": each.ContainerID, "size": each.Size}
                for each in mappings
            ]
    if linux.HasField("Resources"):
        document["resources"] = resources(linux.Resources)
    if linux.Devices:
        document["devices"] = [_device(device) for device in linux.Devices]
    if linux.HasField("Seccomp"):
        document["seccomp"] = _seccomp(linux.Seccomp)
    if linux.RootfsPropagation:
        document["rootfsPropagation"] = linux.RootfsPropagation
    if linux.MaskedPaths:
        document["maskedPaths"] = list(linux.MaskedPaths)
    if linux.ReadonlyPaths:
        document["readonlyPaths"] = list(linux.ReadonlyPaths)
    return document


def _device(device: oci.LinuxDevice) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": device.Path,
        "type": device.Type,
        "major": device.Major,
        "minor": device.Minor,
        "uid": device.UID,
        "gid": device.GID,
    }
    if device.FileMode:
        document["fileMode"] = device.FileMode & 0o7777
    return document


def resources(message: oci.LinuxResources) -> dict[str, Any]:
    """`linux.resources`; a zero in the message means that nothing is asked for."""
    document: dict[str, Any] = {}
    if message.Devices:
        document["devices"] = device_rules(message.Devices)
    memory = _set(
        limit=message.Memory.Limit,
        reservation=message.Memory.Reservation,
        swap=message.Memory.Swap,
    )
    cpu = _set(
        shares=message.CPU.Shares,
        quota=message.CPU.Quota,
        period=message.CPU.Period,
        cpus=message.CPU.Cpus,
        mems=message.CPU.Mems,
    )
    document |= _set(
        memory=memory,
        cpu=cpu,
        pids=_set(limit=message.Pids.Limit),
        blockIO=_set(weight=message.BlockIO.Weight),
    )
    if message.HugepageLimits:
        document["hugepageLimits"] = [
            {"pageSize": each.Pagesize, "limit": each.Limit} for each in message.HugepageLimits
        ]
    return document


def device_rules(rules: Iterable[oci.LinuxDeviceCgroup]) -> list[dict[str, Any]]:
    """`linux.resources.devices`."""
    return [_device_rule(rule) for rule in rules]


def _device_rule(rule: oci.LinuxDeviceCgroup) -> dict[str, Any]:
    document: dict[str, Any] = {"allow": rule.Allow, "access": rule.Access}
    if rule.Type:
        document["type"] = rule.Type
    numbers = {"major": rule.Major, "minor": rule.Minor}
    needed = rule.Type in {"b", "c"}
    return document | {
        name: number for name, number in numbers.items() if number > 0 or (number == 0 and needed)
    }


def _seccomp(seccomp: oci.LinuxSeccomp) -> dict[str, Any]:
    calls = []
    for call in seccomp.Syscalls:
        document: dict[str, Any] = {"names": list(call.Names), "action": call.Action}
        if call.HasField("errnoret"):
            document["errnoRet"] = call.errnoret
        if call.Args:
            document["args"] = [
                {"index": each.Index, "value": each.Value, "valueTwo": each.ValueTwo, "op": each.Op}
                for each in call.Args
            ]
        calls.append(document)
    return {
        "defaultAction": seccomp.DefaultAction,
        "architectures": list(seccomp.Architectures),
        "flags": list(seccomp.Flags),
        "syscalls": calls,
    }


def _hooks(hooks: oci.Hooks) -> dict[str, Any]:
    named = {
        "prestart": hooks.Prestart,
        "createRuntime": hooks.CreateRuntime,
        "createContainer": hooks.CreateContainer,
        "startContainer": hooks.StartContainer,
        "poststart": hooks.Poststart,
        "poststop": hooks.Poststop,
    }
    return {
        name: [
            {
                "path": hook.Path,
                "args": list(hook.Args),
                "env": list(hook.Env),
                **({"timeout": hook.Timeout} if hook.Timeout > 0 else {}),
            }
            for hook in each
        ]
        for name, each in named.items()
        if each
    }


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
