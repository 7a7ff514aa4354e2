"""Which device of the host a container's device is (behaviour sheet §7.4)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from vctui.errors import FileProblem
from vctui.linux.problems import host_problem
from vctui.model.device import DeviceInfo
from vctui.model.kinds import DeviceType

_CLASSES: Final = {
    DeviceType.CHARACTER: "char",
    DeviceType.UNBUFFERED: "char",
    DeviceType.BLOCK: "block",
}
"""Folders of /sys/dev."""
_IS: Final = {
    DeviceType.CHARACTER: (stat.S_ISCHR, "character device"),
    DeviceType.UNBUFFERED: (stat.S_ISCHR, "character device"),
    DeviceType.BLOCK: (stat.S_ISBLK, "block device"),
}


def resolve(info: DeviceInfo, *, sys: Path = Path("/sys")) -> DeviceInfo:
    """The device with its path on the host, "" for a FIFO, and its numbers.

    Raises:
        FileProblem: the host has no such device, or one of another type.
    """
    if info.dev_type not in _IS:
        return info
    if info.major or info.minor:
        path = info.host_path or path_of(info, sys=sys)
        return msgspec.structs.replace(info, host_path=path)
    is_that, kind = _IS[info.dev_type]
    try:
        found = Path(info.host_path).stat()
    except OSError as error:
        raise FileProblem(
            f"the device {info.host_path!r} cannot be used: {error.strerror}; name a {kind} of "
            "the host"
        ) from error
    if not is_that(found.st_mode):
        raise FileProblem(f"{info.host_path!r} is no {kind}; name one, or correct its dev_type")
    return msgspec.structs.replace(
        info, major=os.major(found.st_rdev), minor=os.minor(found.st_rdev)
    )


def check(info: DeviceInfo) -> None:
    """Whether a device that was resolved can be given to a machine, if it is to be plugged in.

    Raises:
        FileProblem: it is no block device of this host.
        PermissionProblem: we may not open it.
    """
    if info.dev_type is not DeviceType.BLOCK:
        return
    try:
        os.close(os.open(info.host_path, os.O_RDONLY | os.O_CLOEXEC))
        found = Path(info.host_path).stat()
    except OSError as error:
        remedy = "name a block device of the host that can be read"
        raise host_problem(error, f"open the device {info.host_path!r}", remedy=remedy) from error
    if not stat.S_ISBLK(found.st_mode):
        raise FileProblem(f"{info.host_path!r} is no block device; name one")


def path_of(info: DeviceInfo, *, sys: Path = Path("/sys")) -> str:
    """The host's node for the numbers of a device, "" for a FIFO.

    A device that the host does not have is taken to be called as in the container.

    Raises:
        FileProblem: the kernel does not say what it is called.
    """
    if info.dev_type not in _CLASSES:
        return ""
    uevent = sys / "dev" / _CLASSES[info.dev_type] / f"{info.major}:{info.minor}" / "uevent"
    try:
        text = uevent.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return info.container_path
    except OSError as error:
        raise host_problem(error, f"read {uevent}") from error
    facts = dict(line.partition("=")[::2] for line in text.splitlines())
    if not facts.get("DEVNAME"):
        raise FileProblem(
            f"{uevent} does not name the device {info.major}:{info.minor}; set its host_path"
        )
    return f"/dev/{facts['DEVNAME']}"
