"""What the guest's kernel grants a container, beyond what the API's structures say.

The words are those of the OCI runtime specification (`linux`, `process.rlimits`), in snake case.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from vctui.errors import InvalidConfig
from vctui.model.seccomp import Seccomp, check_seccomp

PERIOD: Final = 100_000
"""Microseconds: the kernel's period of a CPU quota."""
_SMALLEST_MEMORY: Final = 512 * 1024
"""Less is a slip of the unit."""
_LARGEST: Final = 2**53
_PERIODS: Final = (1_000, 1_000_000)
_SHARES: Final = (2, 262_144)
RLIMITS: Final = tuple(
    f"RLIMIT_{name}"
    for name in (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE"),
        *("NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)
_PROPAGATIONS: Final = tuple(
    f"{recursive}{kind}"
    for kind in ("private", "slave", "shared", "unbindable")
    for recursive in ("", "r")
)
_SYSCTL: Final = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_.*:@-]+)+\Z")
_PAGE: Final = re.compile(r"[1-9][0-9]{0,3}[KMG]B\Z")
_ACCESS: Final = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}\Z")


class DeviceRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A rule about devices that processes may open or make; a later one wins over an earlier."""

    allow: bool
    type: str = "a"
    """`c`, `b`, or `a` for all."""
    major: int = -1
    """-1: any."""
    minor: int = -1
    """-1: any."""
    access: str = "rwm"
    """Of `r` (read), `w` (write) and `m` (make the node)."""


class ContainerResources(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
):
    """API: ContainerResources, and the other limits of a control group. 0 means: no limit."""

    cpu_quota: int = 0
    """Microseconds of processor time that it has in each `cpu_period`; also below 0: no limit."""
    cpu_period: int = 0
    """Microseconds; 0 means 100,000."""
    cpu_shares: int = 0
    """Weight among the containers of the pod, 2 to 262,144; 0 means 1,024."""
    memory_limit: int = 0
    """Bytes. The kernel kills in the container when it needs more."""
    memory_reservation: int = 0
    """Bytes that the kernel takes from it last."""
    pids_limit: int = 0
    """Processes and threads."""
    hugepage_limits: dict[str, int] = msgspec.field(default_factory=dict)
    """Size of page, like `2MB` → bytes."""
    devices: tuple[DeviceRule, ...] = ()
    """In place of the rule that denies all devices but the usual ones and its own."""


class Rlimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A limit of a process, as setrlimit(2) has them."""

    type: str
    """`RLIMIT_NOFILE` and such."""
    soft: int
    hard: int
    """18,446,744,073,709,551,615 (2^64 - 1) means: no limit."""


class Linux(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a container sees and may change of the guest's kernel."""

    sysctl: dict[str, str] = msgspec.field(default_factory=dict)
    """Kernel parameter → value. The kernel is the pod's: they hold for all of its containers."""
    masked_paths: tuple[str, ...] | None = None
    """Absolute paths that look empty; None: the usual ones below /proc and /sys."""
    readonly_paths: tuple[str, ...] | None = None
    """Absolute paths that cannot be written to; None: the usual ones below /proc."""
    rootfs_propagation: str = ""
    """Of mounts: `private` (where left out), `slave`, `shared` or `unbindable`, each also with an
    `r` before it."""
    seccomp: Seccomp | None = None
    """None: every system call is allowed."""


def check_linux(linux: Linux, where: str) -> None:
    """As `check_resources`."""
    for name in linux.sysctl:
        if not _SYSCTL.match(name) or ".." in name:
            raise InvalidConfig(
                f"{where}sysctl.{name} is no kernel parameter; name one like net.core.somaxconn"
            )
    for key in ("masked_paths", "readonly_paths"):
        for index, path in enumerate(getattr(linux, key) or ()):
            if not path.startswith("/"):
                raise InvalidConfig(f"{where}{key}[{index}] {path!r} is not absolute")
    if linux.rootfs_propagation not in {"", *_PROPAGATIONS}:
        raise InvalidConfig(
            f"{where}rootfs_propagation {linux.rootfs_propagation!r} is none; use one of "
            f"{', '.join(_PROPAGATIONS)}"
        )
    if linux.seccomp is not None:
        check_seccomp(linux.seccomp, f"{where}seccomp.")


def check_rlimits(rlimits: tuple[Rlimit, ...], where: str) -> None:
    """As `check_resources`."""
    seen = set()
    for index, limit in enumerate(rlimits):
        at = f"{where}[{index}]"
        if limit.type not in RLIMITS:
            raise InvalidConfig(
                f"{at}.type {limit.type!r} is none; use one of {', '.join(RLIMITS)}"
            )
        if limit.type in seen:
            raise InvalidConfig(f"{at}.type {limit.type} is there already; leave one out")
        seen.add(limit.type)
        if not 0 <= limit.soft <= limit.hard < 2**64:
            raise InvalidConfig(
                f"{at} is {limit.soft} (soft) and {limit.hard} (hard); they must be in this order "
                "and fit into 64 bits"
            )


def check_resources(resources: ContainerResources, where: str) -> None:
    """Raises InvalidConfig where the kernel would refuse. `where` precedes the keys in errors."""
    _between(f"{where}cpu_period", resources.cpu_period, *_PERIODS)
    if resources.cpu_quota > 0:
        _between(f"{where}cpu_quota", resources.cpu_quota, _PERIODS[0], _LARGEST)
    _between(f"{where}cpu_shares", resources.cpu_shares, *_SHARES)
    for name in ("memory_limit", "memory_reservation"):
        _between(f"{where}{name}", getattr(resources, name), _SMALLEST_MEMORY, _LARGEST, " bytes")
    _between(f"{where}pids_limit", resources.pids_limit, 1, 2**22)
    for size, limit in resources.hugepage_limits.items():
        if not _PAGE.match(size) or not 0 <= limit <= _LARGEST:
            raise InvalidConfig(
                f"{where}hugepage_limits.{size} is {limit}; give bytes for a size of page like 2MB"
            )
    for index, rule in enumerate(resources.devices):
        if rule.type not in {"a", "b", "c"} or not _ACCESS.match(rule.access):
            raise InvalidConfig(
                f"{where}devices[{index}] is for {rule.access!r} of type {rule.type!r}; give a "
                "type of a, b and c, and access of r, w and m"
            )
        if not (-1 <= rule.major < 2**12 and -1 <= rule.minor < 2**20):
            raise InvalidConfig(
                f"{where}devices[{index}] is for {rule.major}:{rule.minor}, which is no device; "
                "leave the numbers out for all"
            )


def _between(where: str, value: int, least: int, most: int, unit: str = "") -> None:
    if value and not least <= value <= most:
        raise InvalidConfig(
            f"{where} is {value}{unit} but can be {least} to {most}; leave it out for no limit"
        )
