"""Ports of the host that lead to ports of a pod, as `8080:80` says them. Pure."""

from __future__ import annotations

import msgspec

from vctui.errors import InvalidInput

_LAST = 65535


class PortPair(msgspec.Struct, frozen=True):
    """A port of the host, 0 for a free one, and the pod's port that it leads to."""

    host_port: int
    pod_port: int


class BoundPort(msgspec.Struct, frozen=True):
    """A port of the host that takes connections for a pod."""

    address: str
    """Of the host: `127.0.0.1`, `::1`."""
    host_port: int
    pod_port: int

    @property
    def where(self) -> str:
        """As it stands in a URL."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.host_port}"


def parse_pair(text: str) -> PortPair:
    """`HOST:POD`; `POD` alone is the same port on both sides, and `:POD` a free one of the host.

    Raises:
        InvalidInput
    """
    host, colon, pod = text.rpartition(":")
    pair = PortPair(_port(host or "0", text) if colon else _port(pod, text), _port(pod, text))
    if pair.pod_port == 0:
        raise _wrong(text)
    return pair


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and int(digits) <= _LAST):
        raise _wrong(text)
    return int(digits)


def _wrong(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:40]!r} is no pair of ports; write HOST:POD with numbers up to {_LAST}, for "
        "example 8080:80, and 0 for a free port of the host"
    )
