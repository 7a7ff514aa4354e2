"""What an agent of Kata 2.x and 3.x makes of the messages that describe a container."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vctui.model.capabilities import ALL as CAPABILITIES
from vctui.model.linux import RLIMITS
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2 as pb
from vctui.wire.pb import types_pb2

TRACE = "\n\nStack backtrace:\n   0: anyhow"
_SLOT = r"[01]?[0-9a-f](\.[0-7])?"
PCI_PATH = re.compile(rf"{_SLOT}(/{_SLOT})*")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")
_NODE = re.compile(r"/dev/\w+")
_ACTIONS = re.compile(r"SCMP_ACT_[A-Z_]+")
_ARCHITECTURES = re.compile(r"SCMP_ARCH_[A-Z0-9_]+")
_PARTS = ("process", "root", "linux")
_SPACES = {"ipc", "uts", "mount"}
"""Namespaces that a hostname, sysctls and masked paths need."""


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Panicked(Exception):
    """The task that was to answer is gone, and the agent lives on."""


def check_container(request: pb.CreateContainerRequest) -> None:
    """Raises Refused, Panicked."""
    spec = request.OCI
    if not _ID.fullmatch(request.container_id):
        raise _refusal(f'invalid container ID: "{request.container_id}"')
    for part in _PARTS:
        if not spec.HasField(part):
            raise _refusal(f"no {part} in the OCI spec")
    spaces = [space.Type for space in spec.linux.Namespaces]
    if "pid" in spaces:
        raise _refusal("duplicate namespace pid")
    if not set(spaces) >= _SPACES:
        raise _refusal("EINVAL: Invalid argument")
    for mount in spec.Mounts:
        if not mount.destination.startswith("/") or ".." in mount.destination:
            raise _refusal(f"the mount destination {mount.destination} is invalid")
    _check_filter(spec.linux.Seccomp)
    _check_devices(request)
    check_process(spec.process)


def check_process(process: Any) -> None:
    """Raises Panicked."""
    sets = process.Capabilities
    for words in (sets.Bounding, sets.Effective, sets.Inheritable, sets.Permitted, sets.Ambient):
        if not set(words) <= set(CAPABILITIES):
            raise Panicked(f"Failed to parse {words} to Enum Capability")
    if not {limit.Type for limit in process.Rlimits} <= set(RLIMITS):
        raise Panicked("Failed to parse POSIXRlimit to Enum PosixRlimitType")


def find(process: Any) -> None:
    """Its program and its folder are looked for before a process is made. Raises Refused."""
    path = next((word[5:] for word in process.Env if word.startswith("PATH=")), "")
    program = process.Args[0]
    if shutil.which(program, path=path) is None and not Path(program).exists():
        raise _refusal(f"get message from child: the file {program} was not found")
    if not Path(process.Cwd).is_dir():
        raise _refusal("get message from child: ENOENT: No such file or directory")


def sins_of_user(process: Any, named: pb.StringUser) -> list[str]:
    """Nobody looks names up, and nobody says so."""
    given = (named.uid, named.gid, *named.additionalGids, process.user.Username)
    return [f"{each!r} is taken for 0" for each in given if each and not each.isdecimal()]


def sins_of_filter(linux: Any, is_built_in: bool) -> list[str]:
    calls = linux.Seccomp.Syscalls
    silent = [
        f"{call.Names} do nothing and seem to succeed"
        for call in calls
        if call.Action == "SCMP_ACT_ERRNO" and not call.errnoret
    ]
    if linux.HasField("Seccomp") and not is_built_in:
        silent.append("a filter that is passed over")
    return silent


def check_interface(interface: Any) -> None:
    """Raises Refused."""
    if interface.devicePath and not PCI_PATH.fullmatch(interface.devicePath):
        raise _refusal(f"{interface.devicePath}: not a PCI path")
    if not interface.mtu:
        raise _refusal("update interface: Received a netlink error message Invalid argument")
    for one in interface.IPAddresses:
        if not (one.mask.isdecimal() and _is_network(f"{one.address}/{one.mask}", one.family)):
            raise _refusal(f"invalid IP address syntax: {one}")


def check_route(route: Any, devices: Collection[str]) -> None:
    """Raises Refused."""
    if route.device not in devices:
        raise _refusal(f"Link not found (Name: {route.device})")
    given = [each for each in (route.dest, route.gateway, route.source) if each]
    if "/" in route.gateway or not all(_is_network(each, route.family) for each in given):
        raise _refusal("invalid address")


def _is_network(text: str, family: int) -> bool:
    try:
        version = ipaddress.ip_interface(text).version
    except ValueError:
        return False
    return version == (6 if family == types_pb2.v6 else 4)


def is_disk(source: str) -> bool:
    return bool(_NODE.fullmatch(source) or PCI_PATH.fullmatch(source))


def _check_filter(seccomp: Any) -> None:
    known = (
        *(flag.startswith("SECCOMP_FILTER_FLAG_") for flag in seccomp.Flags),
        *(_ARCHITECTURES.fullmatch(each) for each in seccomp.Architectures),
        *(call.Names and _ACTIONS.fullmatch(call.Action) for call in seccomp.Syscalls),
        *(one.Op.startswith("SCMP_CMP_") for call in seccomp.Syscalls for one in call.Args),
    )
    if not all(known):
        raise Panicked(f"Failed to parse {seccomp}")


def _check_devices(request: pb.CreateContainerRequest) -> None:
    there = {device.Path: device.Type for device in request.OCI.linux.Devices}
    if not set(there.values()) <= set("bcup"):
        raise Panicked("Failed to parse LinuxDevice to Enum LinuxDeviceType")
    for device in request.devices:
        if device.type == "blk" and not PCI_PATH.fullmatch(device.id):
            raise _refusal(f"{device.id}: not a PCI path")
        if device.type != "vfio-pci-gk" and device.container_path not in there:
            raise _refusal(f"Should have found a device {device}")


def _refusal(message: str) -> Refused:
    return Refused(ttrpc.INTERNAL, message + TRACE)
