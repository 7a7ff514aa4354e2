"""A context id for a guest of the host's kernel, and connections to guests' vsock ports."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import socket
import struct
from pathlib import Path
from typing import Final

import msgspec

from vctui.linux import probe, sockets

DEVICE: Final = Path("/dev/vhost-vsock")
MODULE: Final = "vhost_vsock"

_SET_GUEST_CID: Final = 0x4008AF60
_FIRST_CID: Final = 3
_LAST_CID: Final = 2**32 - 2
_TRIES: Final = 1000
_ANSWER: Final = 5.0
"""Seconds for a guest to answer whether somebody listens; its kernel does."""


class Guest(msgspec.Struct, frozen=True):
    """A context id that is ours as long as the descriptor is open."""

    cid: int
    descriptor: int
    """For QEMU (`vhostfd`)."""


def problem() -> str:
    """Why this host's kernel cannot give a guest a vsock device, in words; "" where it can."""
    why = probe.device_problem(DEVICE)
    if why and not DEVICE.exists() and not probe.has_module(MODULE):
        return f"{why}, and this kernel has no module {MODULE}"
    return why


def remedy() -> str:
    """What to do about `problem`."""
    if DEVICE.exists():
        return f"run as root, or be given {DEVICE}"
    if probe.has_module(MODULE):
        return f"run `modprobe {MODULE}`"
    return f"boot a kernel with the module {MODULE} (CONFIG_VHOST_VSOCK)"


def allocate() -> Guest:
    """A free context id, taken.

    Raises:
        OSError: the host lacks the device, or every id that was tried is taken.
    """
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            cid = random.randint(_FIRST_CID, _LAST_CID)  # noqa: S311 - no secret
            try:
                fcntl.ioctl(descriptor, _SET_GUEST_CID, struct.pack("=Q", cid))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return Guest(cid, descriptor)
        raise OSError(errno.EADDRINUSE, "no context id is free", str(DEVICE))
    except BaseException:
        os.close(descriptor)
        raise


async def dial(url: str) -> socket.socket:
    """A connected non-blocking socket. `url` is `vsock://CID:PORT`, by the host's kernel, or
    `hvsock://PATH:PORT`, at a hybrid socket.

    Raises:
        OSError: the guest is not there, or nobody listens on that port.
    """
    scheme, _, place = url.partition("://")
    where, _, port = place.rpartition(":")
    if scheme == "hvsock":
        return await sockets.connect_hybrid(Path(where), int(port))
    return await connect(int(where), int(port))


async def connect(cid: int, port: int) -> socket.socket:
    """A connected non-blocking socket.

    Raises:
        OSError: the guest is not there, or nobody listens on that port.
    """
    client = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_ANSWER):
            try:
                client.connect((cid, port))
            except BlockingIOError:
                await _writable(loop, client)
            if code := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
    except BaseException:
        client.close()
        raise
    return client


async def _writable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)
