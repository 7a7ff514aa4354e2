"""Transparent huge pages, and where they are slow.

A hypervisor that takes free memory from the virtual machine that we run in (virtio-balloon, free
page reporting) takes it in pieces as large as huge pages. So a huge page is always one that the
hypervisor has to give back, in small pages, when it is first used: 32 MiB took 72 ms, small pages
17 ms, and huge pages of which nothing was taken 3 ms.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DEVICES: Final = Path("/sys/bus/virtio/devices")
_BALLOON: Final = 5
_REPORTING: Final = 5
"""Which feature of a balloon it is (virtio specification, 5.5.3: VIRTIO_BALLOON_F_REPORTING)."""
_PR_SET_THP_DISABLE: Final = 41


def are_taken(devices: Path = _DEVICES) -> bool:
    """Whether a hypervisor takes this machine's free memory."""
    with contextlib.suppress(OSError, ValueError):
        for device in devices.iterdir():
            if int((device / "device").read_text(encoding="ascii"), 16) == _BALLOON:
                features = (device / "features").read_text(encoding="ascii")
                return features[_REPORTING : _REPORTING + 1] == "1"
    return False


@contextlib.contextmanager
def avoided() -> Iterator[None]:
    """Programs that are started in the block use small pages, where huge ones are slow."""
    slow = _slow_here()
    if slow:
        _disable(1)
    try:
        yield
    finally:
        if slow:
            _disable(0)


@functools.cache
def _slow_here() -> bool:
    return are_taken()


def _disable(value: int) -> None:
    """A kernel that cannot leaves it as it is: nothing is wrong then, only slow."""
    import ctypes

    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, ctypes.c_ulong(value), zero, zero, zero)
