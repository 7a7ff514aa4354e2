"""Tap and macvtap devices: make them, and open the end that a virtual machine has."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TUN: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_IFF_MULTI_QUEUE, _IFF_TUN_EXCL = 0x0100, 0x8000
_IFREQ: Final = struct.Struct("16sH22x")
VHOST: Final = Path("/dev/vhost-net")


def create(name: str, *, multi_queue: bool) -> None:
    """Make a tap of the current namespace that stays until its link is deleted.

    Raises:
        OSError: EBUSY where there is a link of that name.
    """
    tap = _open(_TUN)
    try:
        _attach(tap, name, multi_queue=multi_queue, flags=_IFF_TUN_EXCL)
        fcntl.ioctl(tap, _TUNSETPERSIST, 1)
    finally:
        os.close(tap)


def open_tap(name: str, queues: int) -> list[int]:
    """Descriptors of an existing tap of the current namespace, one for each queue.

    One that somebody else made may have one queue only; then that is all there is.

    Raises:
        OSError: ENODEV where there is none; EBUSY where a machine has it already.
    """
    if not _exists(name):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)

    def opened(*, multi_queue: bool) -> int:
        tap = _open(_TUN)
        try:
            _attach(tap, name, multi_queue=multi_queue)
        except BaseException:
            os.close(tap)
            raise
        return tap

    try:
        return _several(queues, lambda: opened(multi_queue=True))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return [opened(multi_queue=False)]


def open_macvtap(index: int, queues: int) -> list[int]:
    """Descriptors of the macvtap with this link index, one for each queue.

    Raises:
        OSError: the device node is missing.
    """
    return _several(queues, lambda: _open(f"/dev/tap{index}"))


def open_vhost(queues: int) -> list[int]:
    """Descriptors with which the kernel itself moves a queue's packets; none where it cannot."""
    try:
        return _several(queues, lambda: _open(str(VHOST)))
    except OSError:
        return []


def _several(count: int, one: Callable[[], int]) -> list[int]:
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(one())  # noqa: PERF401 - those before a failure are to be closed
    except BaseException:
        close(opened)
        raise
    return opened


def close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _attach(tap: int, name: str, *, multi_queue: bool, flags: int = 0) -> None:
    wanted = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | flags
    if multi_queue:
        wanted |= _IFF_MULTI_QUEUE
    fcntl.ioctl(tap, _TUNSETIFF, _IFREQ.pack(name.encode(), wanted))


def _exists(name: str) -> bool:
    import socket

    return any(each == name for _, each in socket.if_nameindex())


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)
