"""PCI devices of the host as sysfs has them: folders with a driver, in an IOMMU group."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PASSING: Final = "vfio-pci"
"""The driver of devices that machines may have."""
_ADDRESS: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_BRIDGE: Final = 0x06
"""Base class. A bridge in a group stays the host's; the kernel wants it so."""


def is_address(text: str) -> bool:
    """Whether it is one like `0000:01:00.0`."""
    return bool(_ADDRESS.match(text))


def driver(device: Path) -> str:
    """What has the device; "" for nothing."""
    link = device / "driver"
    return link.resolve().name if link.is_symlink() else ""


def functions(group: Path) -> tuple[Path, ...]:
    """What of an IOMMU group goes to a machine: all but bridges, as the IOMMU cannot keep the parts
    of a group from each other. Raises OSError."""
    return tuple(sorted(one for one in (group / "devices").iterdir() if not _is_bridge(one)))


def _is_bridge(device: Path) -> bool:
    try:
        return int((device / "class").read_text(encoding="ascii"), 16) >> 16 == _BRIDGE
    except (OSError, ValueError):
        return False
