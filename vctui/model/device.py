"""DeviceInfo: a device of the host or of the guest's kernel, in a container (sheet §7.4)."""

from __future__ import annotations

import msgspec

from vctui.model.kinds import DeviceType


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: DeviceInfo.

    A character device or FIFO is made in the container with these numbers, for a driver of the
    guest's kernel. A block device of the host is plugged into the machine for as long as the
    container runs.
    """

    container_path: str
    """Where the container has it, below /dev."""
    host_path: str = ""
    """Its node on the host; "" where `major` and `minor` say which it is."""
    dev_type: DeviceType = DeviceType.CHARACTER
    """What kind of node it is."""
    major: int = 0
    """Of the number; with `minor` 0, that of `host_path`."""
    minor: int = 0
    """Both 0: those of `host_path`."""
    file_mode: int = 0
    """Permission bits; 0 means 0o666."""
    uid: int = 0
    """Owner."""
    gid: int = 0
    """Group."""
    hotplugged: bool = False
    """Reported: whether the machine was given the device while it ran."""
    id: str = ""
    """Reported: what the hypervisor calls it."""
