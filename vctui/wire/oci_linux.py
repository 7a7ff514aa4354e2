"""The `linux` section of an OCI bundle's config.json, in the shape of a pod file. Pure.

What names things of the host's kernel (its processors, control groups, namespaces) means nothing
in the machine and is named in a warning.
"""

from __future__ import annotations

from typing import Any, Final

from vctui.errors import InvalidConfig
from vctui.model.linux import PERIOD
from vctui.model.tables import Table

MIB: Final = 1024 * 1024
_OURS: Final = ("pid", "ipc", "uts", "mount", "network", "cgroup")
"""Namespaces that a container of a pod has anyway, or has the machine for."""
_USUAL_DEVICES: Final = {
    f"/dev/{name}"
    for name in (
        *("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"),
        *("stdin", "stdout", "stderr", "fd"),
    )
}
_MODE: Final = "file_mode"
_EPERM: Final = 1


def mebibytes(limit: int, path: str) -> int:
    """A memory limit in bytes as the size of a machine. Raises InvalidConfig."""
    if limit <= 0:
        raise InvalidConfig(f"{path} is {limit}, but must be positive; leave it out for no limit")
    return -(-limit // MIB)


def machine(resources: dict[str, Any], base_memory: int) -> dict[str, int]:
    """The size of the machine for a container with these resources (behaviour sheet §8.6).

    Unlike the original's, a machine does not get too small to boot: the limit holds in its guest.
    """
    size = {}
    if (limit := -(-resources.get("memory_limit", 0) // MIB)) > base_memory:
        size["memory"] = limit
    if quota := resources.get("cpu_quota"):
        size["vcpus"] = -(-quota // resources.get("cpu_period", PERIOD))
    return size


def resources(linux: Table) -> dict[str, Any]:
    """A container's `resources`. Raises InvalidConfig."""
    table = linux.table("resources")
    memory, cpu, pids = table.table("memory"), table.table("cpu"), table.table("pids")
    found = {
        **_memory(memory),
        **_cpu(cpu),
        "pids_limit": max(0, pids.integer("limit") or 0),
        "devices": _rules(table),
        "hugepage_limits": _hugepages(table),
    }
    for one in (memory, cpu, pids, table):
        one.rest()
    return {key: value for key, value in found.items() if value}


def _memory(memory: Table) -> dict[str, int]:
    limit = memory.integer("limit")
    if limit is not None:
        mebibytes(limit, memory.path("limit"))
    swap = memory.integer("swap")
    if swap is not None and swap not in {0, -1, limit}:
        memory.warn("swap", "has no effect: the machine has no swap")
    if memory.flag("disableOOMKiller"):
        memory.warn("disableOOMKiller", "has no effect: control groups of version 2 have no such")
    return {
        "memory_limit": limit or 0,
        "memory_reservation": max(0, memory.integer("reservation") or 0),
    }


def _cpu(cpu: Table) -> dict[str, int]:
    quota, period = cpu.integer("quota"), cpu.integer("period")
    if period is not None and period <= 0:
        raise InvalidConfig(f"{cpu.path('period')} is {period}, but must be positive")
    for key in ("cpus", "mems"):
        if cpu.text(key):
            cpu.warn(key, "has no effect: it numbers the host's, and the machine has its own")
    return {
        "cpu_quota": max(0, quota or 0),
        "cpu_period": period or 0,
        "cpu_shares": cpu.integer("shares") or 0,
    }


def _rules(table: Table) -> list[dict[str, Any]]:
    found = []
    for rule in table.tables("devices"):
        numbers = {key: rule.integer(key) for key in ("major", "minor")}
        made: dict[str, Any] = {
            "allow": rule.flag("allow"),
            "type": rule.text("type") or "a",
            "access": rule.text("access") or "rwm",
        }
        found.append(made | {key: value for key, value in numbers.items() if value is not None})
        rule.rest()
    return found


def _hugepages(table: Table) -> dict[str, int]:
    found: dict[str, int] = {}
    for limit in table.tables("hugepageLimits"):
        size, most = limit.text("pageSize"), limit.integer("limit")
        if not size or most is None:
            raise InvalidConfig(f"{limit.path('limit')} and pageSize must both be there")
        found[size] = most
        limit.rest()
    return found


def namespaces(linux: Table) -> None:
    """Name those that a container in a machine cannot have."""
    for namespace in linux.tables("namespaces"):
        kind, path = namespace.text("type"), namespace.text("path")
        if path or kind not in _OURS:
            namespace.warn("type", f"{kind!r}{' with a path' * bool(path)} has no effect")


def confinement(linux: Table) -> dict[str, Any]:
    """A container's `linux`. Lists of paths that are not there hide nothing, as for any runtime."""
    return {
        "sysctl": linux.mapping("sysctl"),
        "masked_paths": linux.texts("maskedPaths"),
        "readonly_paths": linux.texts("readonlyPaths"),
        "rootfs_propagation": linux.text("rootfsPropagation"),
        "seccomp": _seccomp(linux) if "seccomp" in linux else None,
    }


def devices(linux: Table) -> list[dict[str, Any]]:
    """A container's `device_infos`, without those that it has anyway."""
    return [made for one in linux.tables("devices") if (made := _device(one))]


def _device(device: Table) -> dict[str, Any] | None:
    path = device.text("path")
    made: dict[str, Any] = {"container_path": path, "dev_type": device.text("type")}
    for key in ("major", "minor", "fileMode", "uid", "gid"):
        value = device.integer(key)
        if value is not None:
            made[_MODE if key == "fileMode" else key] = value
    device.rest()
    if path in _USUAL_DEVICES:
        return None
    if not path.startswith("/dev/"):
        device.warn("path", f"is {path!r}, and devices can be made below /dev only; it is left out")
        return None
    if _MODE in made:
        made[_MODE] &= 0o7777
    return made


def _seccomp(linux: Table) -> dict[str, Any]:
    seccomp = linux.table("seccomp")
    if seccomp.integer("defaultErrnoRet") not in {None, _EPERM}:
        seccomp.warn("defaultErrnoRet", "has no effect: the agent's protocol has no such; it is 1")
    made = {
        "default_action": seccomp.text("defaultAction"),
        "architectures": seccomp.texts("architectures"),
        "flags": seccomp.texts("flags"),
        "syscalls": [_rule(one) for one in seccomp.tables("syscalls")],
    }
    seccomp.rest()
    return made


def _rule(rule: Table) -> dict[str, Any]:
    made = {
        "names": rule.texts("names"),
        "action": rule.text("action"),
        "errno_ret": rule.integer("errnoRet"),
        "args": [_condition(one) for one in rule.tables("args")],
    }
    rule.rest()
    return made


def _condition(arg: Table) -> dict[str, Any]:
    made = {
        "index": arg.integer("index") or 0,
        "value": arg.integer("value") or 0,
        "value_two": arg.integer("valueTwo") or 0,
        "op": arg.text("op"),
    }
    arg.rest()
    return made
