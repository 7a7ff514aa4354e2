"""An OCI bundle's config.json → a pod of one container, in the shape of a pod file. Pure.

OCI runtime specification 1.2; what becomes of each part is the original's way (behaviour sheet
§8.5 and §8.6), but for its mistakes: a variable's value may contain `=`.
"""

from __future__ import annotations

import json
import posixpath
from typing import Any, Final

from vctui.errors import FileProblem, InvalidConfig
from vctui.model.tables import Table
from vctui.wire import oci_linux

BUNDLE_PATH: Final = "com.github.containers.virtcontainers.pkg.oci.bundle_path"
CONTAINER_TYPE: Final = "com.github.containers.virtcontainers.pkg.oci.container_type"

_TYPE_KEYS: Final = (
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.docker.type",
)
_SANDBOX_KEYS: Final = (
    "io.kubernetes.cri.sandbox-id",
    "io.kubernetes.cri-o.SandboxID",
    "io.kubernetes.sandbox.id",
)
_TYPES: Final = {
    "sandbox": "pod_sandbox",
    "podsandbox": "pod_sandbox",
    "container": "pod_container",
}
_SYSTEM: Final = ("/proc", "/dev", "/sys")
_USUAL_OPTIONS: Final = {
    *("nosuid", "noexec", "nodev", "ro", "relatime", "strictatime", "newinstance"),
    *("rw", "private", "rprivate"),
    *("mode=755", "mode=0755", "size=65536k", "ptmxmode=0666", "mode=0620", "mode=620", "gid=5"),
}
_READ_ONLY: Final = ("/sys", "/sys/fs/cgroup")
_HOOKS: Final = {
    "pre_start": ("prestart", "createRuntime"),
    "post_start": ("poststart",),
    "post_stop": ("poststop",),
}
"""Those of the host, by the turn of the pod's life at which they run."""
_CAPABILITY_SETS: Final = ("bounding", "effective", "inheritable", "permitted", "ambient")


def pod_of_bundle(
    raw: bytes, *, bundle: str, pod_id: str, base_memory: int
) -> tuple[dict[str, Any], list[str]]:
    """The pod that a bundle describes, and warnings about what has no effect.

    Args:
        raw: config.json.
        bundle: absolute path of the bundle, which relative paths are relative to.
        pod_id: of the pod and of its container.
        base_memory: MiB of a machine whose container has no limit, or a lower one.

    Raises:
        FileProblem: it is no JSON object.
        InvalidConfig: a part has a wrong type, or there is no Linux section.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FileProblem(f"it is not valid JSON: {error}; correct it") from error
    if not isinstance(document, dict):
        raise FileProblem("it must hold one JSON object; give an OCI runtime configuration")
    warnings: list[str] = []
    spec = Table(document, "", warnings)
    if "linux" not in spec:
        raise InvalidConfig("linux is missing; a bundle for Linux must have it")
    annotations = spec.mapping("annotations")
    annotations |= {BUNDLE_PATH: bundle, CONTAINER_TYPE: _container_type(annotations, warnings)}
    linux = spec.table("linux")
    resources = oci_linux.resources(linux)
    hooks, start_hooks = _hooks(spec)
    container = {
        "id": pod_id,
        **_root(spec, bundle),
        "cmd": _command(spec.table("process")),
        "mounts": [mount for each in spec.tables("mounts") if (mount := _mount(each))],
        "device_infos": oci_linux.devices(linux),
        "resources": resources,
        "linux": oci_linux.confinement(linux),
        "start_hooks": start_hooks,
        "annotations": annotations,
    }
    oci_linux.namespaces(linux)
    linux.rest()
    pod = {
        "id": pod_id,
        "hostname": spec.text("hostname"),
        "vm_config": oci_linux.machine(resources, base_memory),
        "containers": [container],
        "hooks": hooks,
        "annotations": annotations,
    }
    spec.rest("ociVersion")
    return pod, warnings


def container_type(annotations: dict[str, str]) -> str:
    """`pod_sandbox` or `pod_container`, by what a CRI server noted. Raises InvalidConfig."""
    for key in _TYPE_KEYS:
        if key in annotations:
            value = annotations[key]
            if value not in _TYPES:
                raise InvalidConfig(
                    f"annotations.{key} is {value!r}, but must be one of {', '.join(_TYPES)}"
                )
            return _TYPES[value]
    return _TYPES["sandbox"]


def sandbox_id(annotations: dict[str, str]) -> str:
    """The pod that a CRI server meant the container for; "" where it did not say."""
    return next((annotations[key] for key in _SANDBOX_KEYS if key in annotations), "")


def environment(items: list[str]) -> list[dict[str, str]]:
    """Items without `=` or without a name say nothing, and are left out."""
    pairs = [item.partition("=") for item in items]
    return [{"var": var, "value": value} for var, equals, value in pairs if var and equals]


def _container_type(annotations: dict[str, str], warnings: list[str]) -> str:
    found = container_type(annotations)
    if found == _TYPES["container"]:
        meant = sandbox_id(annotations)
        of = f" of pod {meant!r}" if meant else ""
        warnings.append(f"annotations say that it is a container{of}; it becomes a pod of its own")
    return found


def _root(spec: Table, bundle: str) -> dict[str, Any]:
    root = spec.table("root")
    path, read_only = root.text("path"), root.flag("readonly")
    if not path:
        raise InvalidConfig("root.path is missing; name the folder of the root file system")
    root.rest()
    return {"rootfs": posixpath.join(bundle, path), "readonly_rootfs": read_only}


def _command(process: Table) -> dict[str, Any]:
    user = process.table("user")
    numbers = [user.integer("uid"), user.integer("gid")]
    more = user.value("additionalGids") or []
    if not isinstance(more, list) or not all(type(each) is int for each in more):
        raise InvalidConfig("process.user.additionalGids must be a list of integers")
    for name, number in zip(("uid", "gid"), numbers, strict=True):
        if number is not None and not 0 <= number < 2**32 - 1:
            raise InvalidConfig(f"process.user.{name} is {number}, which is no id")
    uid, gid = ("" if number is None else str(number) for number in numbers)
    command = {
        "args": process.texts("args"),
        "envs": environment(process.texts("env")),
        "work_dir": process.text("cwd") or "/",
        "user": uid or "0",
        "primary_group": gid or "0",
        "supplementary_groups": [str(each) for each in more],
        "interactive": process.flag("terminal"),
        "no_new_privileges": process.flag("noNewPrivileges"),
        "capabilities": _capabilities(process),
        "rlimits": [_rlimit(limit) for limit in process.tables("rlimits")],
        "oom_score_adj": process.integer("oomScoreAdj") or 0,
    }
    user.rest("username")
    process.rest()
    return command


def _rlimit(limit: Table) -> dict[str, Any]:
    made = {"type": limit.text("type")}
    limits = {key: limit.integer(key) or 0 for key in ("soft", "hard")}
    limit.rest()
    return made | limits


def _hooks(spec: Table) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The pod's hooks, and those that run in the container."""
    table = spec.table("hooks")
    of_pod = {
        turn: [_hook(each) for kind in kinds for each in table.tables(kind)]
        for turn, kinds in _HOOKS.items()
    }
    in_container = [_hook(each) for each in table.tables("startContainer")]
    if "createContainer" in table:
        table.value("createContainer")
        table.warn(
            "createContainer",
            "has no effect: it is a program of the host in the container's namespaces, which are "
            "in the machine",
        )
    table.rest()
    return of_pod, in_container


def _hook(hook: Table) -> dict[str, Any]:
    made = {
        "path": hook.text("path"),
        "args": hook.texts("args"),
        "env": hook.texts("env"),
        "timeout": hook.integer("timeout") or 0,
    }
    hook.rest()
    return made


def _capabilities(process: Table) -> dict[str, list[str]] | None:
    """An object of lists, or the old form: one list for all sets."""
    value = process.value("capabilities")
    if value is None:
        return None
    if isinstance(value, list):
        names = process.texts("capabilities")
        return dict.fromkeys(_CAPABILITY_SETS, names)
    table = process.table("capabilities")
    sets = {name: table.texts(name) for name in _CAPABILITY_SETS}
    table.rest()
    return sets


def _mount(mount: Table) -> dict[str, Any] | None:
    """None for those that a container has anyway, and for those that cannot be."""
    destination, kind = mount.text("destination"), mount.text("type")
    source, options = mount.text("source"), mount.texts("options")
    mount.rest()
    if not destination.startswith("/"):
        destination = f"/{destination}"
    if "bind" in options or "rbind" in options:
        kind = "bind"
    system = any(destination == each or destination.startswith(f"{each}/") for each in _SYSTEM)
    if system and destination in _SYSTEM and kind == "bind":
        mount.warn("destination", f"{destination} cannot be replaced; the mount is left out")
        return None
    if system and (kind not in {"bind", "tmpfs"} or destination in _SYSTEM):
        _warn_of_options(mount, destination, options)
        return None
    if kind not in {"bind", "tmpfs"}:
        mount.warn("type", f"{kind!r} is not supported; {destination} is not mounted")
        return None
    return {
        "destination": destination,
        "source": source if kind == "bind" else "",
        "type": kind,
        "options": [word for word in options if word not in {"ro", "rw"}],
        "read_only": "ro" in options,
    }


def _warn_of_options(mount: Table, destination: str, options: list[str]) -> None:
    """Say where a mount that a container has anyway is to be another."""
    if destination in _READ_ONLY and "ro" not in options:
        mount.warn("options", f"ask for writing to {destination}, which is mounted read-only")
    if more := [word for word in options if word not in _USUAL_OPTIONS]:
        mount.warn("options", f"of {destination}: {', '.join(more)} has no effect")
