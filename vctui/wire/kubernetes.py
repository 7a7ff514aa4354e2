"""A Kubernetes Pod manifest (v1) → a pod, in the shape of a pod file. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from vctui.errors import InvalidConfig
from vctui.model import capabilities
from vctui.model.kinds import NetworkModel, PortProtocol
from vctui.model.linux import PERIOD
from vctui.model.tables import Table
from vctui.wire.oci_linux import MIB, mebibytes

RESTART_POLICY: Final = "io.kubernetes.pod.restart-policy"
NAMESPACE: Final = "io.kubernetes.pod.namespace"
LABEL: Final = "io.kubernetes.pod.label/"

_UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY: Final = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{0,9})?(?:[eE][+-]?[0-9]{1,2})?)([A-Za-z]*)\Z"
)
_VARIABLE: Final = re.compile(r"\$\$|\$\(([^)]*)\)")
_SERVER_SIDE: Final = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""What a server wrote about a pod, and nobody wished."""


def is_manifest(data: Mapping[str, Any]) -> bool:
    return "kind" in data and "apiVersion" in data


def pod_of_manifest(
    data: Mapping[str, Any], *, base_memory: int
) -> tuple[dict[str, Any], list[str]]:
    """The pod that a manifest describes, and warnings about what has no effect.

    Args:
        data: of the manifest.
        base_memory: MiB that the machine has beside what its containers may use.

    Raises:
        InvalidConfig: with the path of the field.
    """
    warnings: list[str] = []
    manifest = Table(data, "", warnings)
    kind, version = manifest.text("kind"), manifest.text("apiVersion")
    if (kind, version) != ("Pod", "v1"):
        raise InvalidConfig(
            f"it is of kind {kind!r} and apiVersion {version!r}; only a Pod of v1 can be run"
        )
    metadata, spec = manifest.table("metadata"), manifest.table("spec")
    name = metadata.text("name")
    if not name:
        raise InvalidConfig("metadata.name is missing; it becomes the pod's id")
    annotations = _annotations(metadata)
    annotations[RESTART_POLICY] = spec.text("restartPolicy", "Always")
    security = spec.table("securityContext")
    of_pod = {
        "runAsUser": security.integer("runAsUser"),
        "runAsGroup": security.integer("runAsGroup"),
        "runAsNonRoot": security.flag("runAsNonRoot"),
        "groups": _groups(security),
        "sysctl": _sysctl(security),
    }
    _seccomp(security)
    volumes = _volumes(spec)
    tables = spec.tables("containers")
    if not tables:
        raise InvalidConfig("spec.containers is empty; a pod must have a container")
    users = _users_of_volumes(tables)
    facts = {
        "metadata.name": name,
        "metadata.namespace": metadata.text("namespace") or "default",
        **{
            f"metadata.{key}['{each}']": value
            for key in ("labels", "annotations")
            for each, value in metadata.mapping(key).items()
        },
    }
    ports = [port for each in tables for port in _ports(each)]
    containers = [_container(each, of_pod, volumes, users, facts) for each in tables]
    hostname = spec.text("hostname")
    for table in (security, metadata, spec):
        table.rest(*_SERVER_SIDE)
    manifest.rest("status")
    pod = {
        "id": name,
        "hostname": hostname,
        "vm_config": _machine(containers, base_memory),
        "containers": containers,
        "annotations": annotations,
    }
    if ports:
        pod |= {"network_model": NetworkModel.CNI, "network_config": {"port_mappings": ports}}
    return pod, warnings


def quantity(value: object, path: str) -> Decimal:
    """A number of Kubernetes: 500m, 1.5, 128Mi, 1e3. Raises InvalidConfig."""
    text = str(value) if isinstance(value, str | int | float) else ""
    found = _QUANTITY.match(text)
    if isinstance(value, bool) or found is None or found[2] not in _UNITS:
        raise InvalidConfig(f"{path} is {value!r}, which is no quantity; write 500m or 64Mi")
    return Decimal(found[1]) * _UNITS[found[2]]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` is the variable's value where there is one; `$$(NAME)` is `$(NAME)`."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return _VARIABLE.sub(replaced, text)


def _resources(container: Table) -> dict[str, int]:
    """A container's `resources`: a CPU that is not requested is so as far as the limit goes."""
    table = container.table("resources")
    limits, requests = table.table("limits"), table.table("requests")
    cpus = {each: _amount(each, "cpu") for each in (limits, requests)}
    memory = _amount(limits, "memory")
    found = {
        "cpu_quota": _rounded_up(cpus[limits] * PERIOD),
        "memory_limit": _rounded_up(memory),
        "cpu_shares": _shares(cpus[requests] or cpus[limits]),
    }
    if "memory" in limits:
        mebibytes(found["memory_limit"], limits.path("memory"))
    if "memory" in requests:
        requests.value("memory")
        requests.warn("memory", "has no effect: it is for a scheduler")
    for each in (limits, requests, table):
        each.rest()
    return {key: value for key, value in found.items() if value}


def _amount(table: Table, key: str) -> Decimal:
    return quantity(table.value(key), table.path(key)) if key in table else Decimal(0)


def _rounded_up(number: Decimal) -> int:
    return int(number.to_integral_value(rounding="ROUND_CEILING"))


def _shares(cpus: Decimal) -> int:
    """The kubelet's: 1,024 for a CPU."""
    return min(max(2, int(cpus * 1024)), 262_144) if cpus else 0


def _machine(containers: list[dict[str, Any]], base_memory: int) -> dict[str, int]:
    """The size of the machine: what the limits of all containers come to."""
    quota, memory = (
        sum(one["resources"].get(key, 0) for one in containers)
        for key in ("cpu_quota", "memory_limit")
    )
    found = {}
    if quota:
        found["vcpus"] = -(-quota // PERIOD)
    if memory:
        found["memory"] = base_memory + -(-memory // MIB)
    return found


def _annotations(metadata: Table) -> dict[str, str]:
    labels = {LABEL + key: value for key, value in metadata.mapping("labels").items()}
    namespace = metadata.text("namespace")
    return {
        **metadata.mapping("annotations"),
        **labels,
        **({NAMESPACE: namespace} if namespace else {}),
    }


def _groups(security: Table) -> list[str]:
    groups = security.value("supplementalGroups") or []
    if not isinstance(groups, list) or not all(type(each) is int for each in groups):
        raise InvalidConfig(f"{security.path('supplementalGroups')} must be a list of integers")
    return [str(each) for each in groups]


def _sysctl(security: Table) -> dict[str, str]:
    found = {}
    for each in security.tables("sysctls"):
        found[each.text("name")] = each.text("value")
        each.rest()
    return found


def _seccomp(security: Table) -> None:
    """Without a profile all system calls are allowed, which is what Unconfined asks for."""
    kind = security.table("seccompProfile").text("type")
    if kind not in {"", "Unconfined"}:
        security.warn("seccompProfile", f"is {kind!r}: there is no such profile; it has no effect")


def _container(
    container: Table,
    of_pod: Mapping[str, Any],
    volumes: Mapping[str, Mapping[str, Any] | None],
    users: Mapping[str, int],
    facts: Mapping[str, str],
) -> dict[str, Any]:
    name, image = container.text("name"), container.text("image")
    if not image:
        raise InvalidConfig(f"{container.path('image')} is missing; name an imported image")
    if container.text("imagePullPolicy") == "Always":
        container.warn("imagePullPolicy", "has no effect: images are imported, not pulled")
    variables = _environment(container, facts)
    command = [expand(each, variables) for each in container.texts("command")]
    args = [expand(each, variables) for each in container.texts("args")]
    terminal = container.flag("tty")
    security = container.table("securityContext")
    user, group = (
        number if (number := security.integer(key)) is not None else of_pod[key]
        for key in ("runAsUser", "runAsGroup")
    )
    if (security.flag("runAsNonRoot") or of_pod["runAsNonRoot"]) and not user:
        if user == 0:
            raise InvalidConfig(
                f"{security.path('runAsNonRoot')} is true, but the container runs as user 0; "
                "choose another runAsUser"
            )
        security.warn("runAsNonRoot", "is not checked against the image's user; give runAsUser")
    found: dict[str, Any] = {
        "id": name,
        "image": image,
        "resources": _resources(container),
        "readonly_rootfs": security.flag("readOnlyRootFilesystem"),
        "cmd": {
            "args": args,
            "envs": [{"var": var, "value": value} for var, value in variables.items()],
            "work_dir": container.text("workingDir"),
            "user": "" if user is None else str(user),
            "primary_group": "" if group is None else str(group),
            "supplementary_groups": of_pod["groups"],
            "interactive": terminal,
            "stdin": container.flag("stdin"),
            "no_new_privileges": not security.flag("allowPrivilegeEscalation", default=True),
            "capabilities": _capabilities(security),
        },
        "linux": {"sysctl": of_pod["sysctl"]},
        "mounts": [
            mount
            for each in container.tables("volumeMounts")
            if (mount := _mount(each, volumes, users))
        ],
    }
    _seccomp(security)
    if security.text("procMount") == "Unmasked":
        found["linux"] |= {"masked_paths": [], "readonly_paths": []}
    if command:
        found["entrypoint"] = command
    if security.flag("privileged"):
        security.warn("privileged", "is not supported and has no effect")
    security.rest()
    container.rest()
    return found


def _ports(container: Table) -> list[dict[str, Any]]:
    """The ports of the host that lead to the container's; what a container merely listens on needs
    no words. Each container of a pod has the pod's own addresses."""
    found = []
    for each in container.tables("ports"):
        each.text("name")
        port, host = each.integer("containerPort"), each.integer("hostPort")
        protocol, address = each.text("protocol", "TCP").lower(), each.text("hostIP")
        each.rest()
        if protocol not in set(PortProtocol):
            raise InvalidConfig(f"{each.path('protocol')} is none of TCP, UDP and SCTP; correct it")
        if port is None:
            raise InvalidConfig(f"{each.path('containerPort')} is missing; give the port's number")
        if host:
            mapping = {"host_port": host, "container_port": port, "protocol": protocol}
            found.append({**mapping, **({"host_ip": address} if address else {})})
    return found


def _environment(container: Table, facts: Mapping[str, str]) -> dict[str, str]:
    """`facts` are what fields of the pod that a variable may name are."""
    variables: dict[str, str] = {}
    for each in container.tables("env"):
        name = each.text("name")
        if not name:
            raise InvalidConfig(f"{each.path('name')} is missing; name the variable")
        if "valueFrom" in each:
            source = each.table("valueFrom").table("fieldRef").text("fieldPath")
            if source in facts:
                variables[name] = facts[source]
            else:
                each.warn("valueFrom", f"is not supported; the variable {name} is not set")
        else:
            variables[name] = expand(each.text("value"), variables)
        each.rest()
    return variables


def _capabilities(security: Table) -> dict[str, list[str]] | None:
    """The usual set with changes; None where there are none."""
    table = security.table("capabilities")
    added, dropped = _names(table, "add"), _names(table, "drop")
    table.rest()
    if not added and not dropped:
        return None
    usual = [] if dropped == capabilities.ALL else capabilities.USUAL
    kept = [name for name in usual if name not in dropped]
    names = list(dict.fromkeys((*kept, *added)))
    return dict.fromkeys(("bounding", "effective", "permitted"), names)


def _names(table: Table, key: str) -> tuple[str, ...]:
    names = [name.upper() for name in table.texts(key)]
    if "ALL" in names:
        return capabilities.ALL
    return tuple(name if name.startswith("CAP_") else f"CAP_{name}" for name in names)


def _volumes(spec: Table) -> dict[str, Mapping[str, Any] | None]:
    """Name → the start of a mount; None for a volume that cannot be had."""
    found: dict[str, Mapping[str, Any] | None] = {}
    for volume in spec.tables("volumes"):
        name = volume.text("name")
        if not name or name in found:
            raise InvalidConfig(f"{volume.path('name')} is {name!r}; give each volume its own name")
        found[name] = None
        if "hostPath" in volume:
            host = volume.table("hostPath")
            path, kind = host.text("path"), host.text("type")
            if not path.startswith("/"):
                raise InvalidConfig(f"{host.path('path')} is {path!r}; give an absolute path")
            if kind not in {"", "Directory", "File"}:
                host.warn("type", f"{kind!r} is not supported: what is mounted must be there")
            found[name] = {"type": "bind", "source": path}
            host.rest()
        elif volume.value("emptyDir") is not None:
            empty = volume.table("emptyDir")
            memory, limit = empty.text("medium") == "Memory", empty.value("sizeLimit")
            found[name] = {"type": "empty-dir", "source": name, "memory": memory}
            if memory and limit is not None:
                bytes_ = int(quantity(limit, empty.path("sizeLimit")).to_integral_value())
                found[name] = {**(found[name] or {}), "options": [f"size={bytes_}"]}
            elif limit is not None:
                empty.warn("sizeLimit", "has no effect on a volume on the disk")
            empty.rest()
        volume.rest()
    return found


def _users_of_volumes(containers: list[Table]) -> dict[str, int]:
    """How many mounts each volume has."""
    users: dict[str, int] = {}
    for container in containers:
        for mount in container.tables("volumeMounts"):
            users[mount.text("name")] = users.get(mount.text("name"), 0) + 1
    return users


def _mount(
    mount: Table, volumes: Mapping[str, Mapping[str, Any] | None], users: Mapping[str, int]
) -> dict[str, Any] | None:
    name, destination = mount.text("name"), mount.text("mountPath")
    below, read_only = mount.text("subPath"), mount.flag("readOnly")
    mount.rest()
    if name not in volumes:
        raise InvalidConfig(f"{mount.path('name')} is {name!r}, but there is no such volume")
    volume = volumes[name]
    if volume is None:
        mount.warn("name", f"is {name!r}, which is not supported; {destination} is not mounted")
        return None
    made = {"destination": destination, "read_only": read_only, **volume}
    in_memory = made.pop("memory", False)
    if below and (made["type"] != "bind" or ".." in below.split("/") or below.startswith("/")):
        mount.warn("subPath", f"is not supported here; {destination} is not mounted")
        return None
    if below:
        made["source"] = posixpath.join(made["source"], below)
    if in_memory:
        alone = users[name] == 1
        return made | ({"type": "tmpfs", "source": ""} if alone else {"type": "memory-dir"})
    return made
