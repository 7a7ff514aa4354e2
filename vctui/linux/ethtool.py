"""What driver a link has, and on which bus it sits (ethtool's ioctl)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_GDRVINFO: Final = 3
_DRVINFO: Final = struct.Struct("=I32s32s32s32s32s12sIIIII")
_IFREQ: Final = struct.Struct("16sP16x")


@dataclass(frozen=True, slots=True)
class DriverInfo:
    driver: str
    bus: str
    """`0000:03:00.0` of a PCI device; "" of one that sits nowhere."""


def driver_info(name: str) -> DriverInfo | None:
    """Of a link of the current namespace; None for one that does not tell."""
    data = array.array("B", _DRVINFO.pack(_GDRVINFO, *(b"",) * 6, 0, 0, 0, 0, 0))
    request = _IFREQ.pack(name.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)
        except OSError:
            return None
    fields = _DRVINFO.unpack(data.tobytes())
    driver, bus = (fields[place].split(b"\0")[0].decode(errors="replace") for place in (1, 4))
    return DriverInfo(driver, bus)
