"""Templates: saved guests that pods begin as."""

from __future__ import annotations

from datetime import datetime

import msgspec

from vctui.model.kinds import MachineType


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """One saved guest, as it is listed."""

    key: str
    """The same for all pods that it serves."""
    created: datetime
    used: datetime
    """When a pod last began as it."""
    machine_type: MachineType
    vcpus: int
    memory: int
    """MiB; so much of the host's memory it takes, and any number of pods share it."""
    kernel: str
    initrd: str
    ready: int = 0
    """Guests that began as it already and wait for a pod (`[template] pool`)."""
