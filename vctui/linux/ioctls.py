"""Small requests to the kernel that go through fcntl(2), ioctl(2) and sealed memory files.

The guest ships this module: it imports little.
"""

from __future__ import annotations

import fcntl
import os
import struct

_F_LINUX_SPECIFIC_BASE = 1024
_F_SETPIPE_SZ = _F_LINUX_SPECIFIC_BASE + 7
_F_ADD_SEALS = _F_LINUX_SPECIFIC_BASE + 9
_SEAL_EVERYTHING = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write
_HIGH = 64
_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 0x1
_IFREQ = struct.Struct("16sh22x")
_SIOCETHTOOL = 0x8946
_GET_CHANNELS, _SET_CHANNELS = 0x3C, 0x3D
_CHANNELS = struct.Struct("=9I")  # command; rx, tx, other, combined: the most of each, then now
_REFERENCE = struct.Struct("16sP16x")


def grow_pipe(fd: int, size: int) -> None:
    """Let a pipe hold `size` bytes; one that the kernel does not allow to grow stays as it is."""
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, size)
    except OSError:
        return


def high_copy(fd: int) -> int:
    """A duplicate of `fd` with a number that no program is handed a descriptor under."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)


def sealed_copy(path: str) -> int:
    """A descriptor (see `high_copy`) of an unchangeable copy of the file in memory.

    Raises:
        OSError: the file cannot be read.
    """
    name = path.rpartition("/")[2]
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(source).st_size
        copy = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            while size > 0 and (sent := os.sendfile(copy, source, None, size)):
                size -= sent
            fcntl.fcntl(copy, _F_ADD_SEALS, _SEAL_EVERYTHING)
            return high_copy(copy)
        finally:
            os.close(copy)
    finally:
        os.close(source)


def credit_entropy(data: bytes) -> None:
    """Mix `data` into the random pool, count it as random, and reseed from the pool at once.

    Raises:
        OSError: EPERM where not root.
    """
    random = os.open("/dev/random", os.O_WRONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(random, _RNDADDENTROPY, struct.pack("ii", len(data) * 8, len(data)) + data)
        fcntl.ioctl(random, _RNDRESEEDCRNG)
    finally:
        os.close(random)


def interface_up(name: str) -> None:
    """Set a network interface up.

    Raises:
        OSError: ENODEV where there is none of that name.
    """
    import _socket  # what the much larger `socket` wraps

    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        asked = fcntl.ioctl(control.fileno(), _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
        flags = _IFREQ.unpack(asked)[1]
        wanted = _IFREQ.pack(name.encode(), flags | _IFF_UP)
        fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, wanted)
    finally:
        control.close()


def use_queues(name: str, count: int) -> None:
    """Let a network card use `count` pairs of queues, or as many as it has. One that leaves no
    choice stays as it is."""
    import _socket
    from array import array

    channels = array("B", _CHANNELS.pack(_GET_CHANNELS, *[0] * 8))
    request = _REFERENCE.pack(name.encode(), channels.buffer_info()[0])
    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)
        _, *values = _CHANNELS.unpack(channels)
        wanted = min(values[3], count)
        if wanted > values[7]:
            _CHANNELS.pack_into(channels, 0, _SET_CHANNELS, *values[:7], wanted)
            fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)
    except OSError:
        return
    finally:
        control.close()
