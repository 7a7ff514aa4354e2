"""Payloads of cc-proxy's commands (proxies-and-shims sheet, §3.3, §3.4). Keys as on the wire."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from vctui.wire import hyperstart

Payload = TypeVar("Payload", bound=msgspec.Struct)

HYPER: Final = {
    "version": hyperstart.GET_VERSION,
    "startpod": hyperstart.START_POD,
    "destroypod": hyperstart.DESTROY_POD,
    "execcmd": hyperstart.EXEC_COMMAND,
    "ready": hyperstart.READY,
    "ack": hyperstart.ACK,
    "error": hyperstart.ERROR,
    "winsize": hyperstart.WINDOW_SIZE,
    "ping": hyperstart.PING,
    "next": hyperstart.NEXT,
    "writefile": hyperstart.WRITE_FILE,
    "readfile": hyperstart.READ_FILE,
    "newcontainer": hyperstart.NEW_CONTAINER,
    "killcontainer": hyperstart.KILL_CONTAINER,
    "onlinecpumem": hyperstart.ONLINE_CPU_MEM,
    "setupinterface": hyperstart.SETUP_INTERFACE,
    "setuproute": hyperstart.SETUP_ROUTE,
    "removecontainer": hyperstart.REMOVE_CONTAINER,
    "pscontainer": hyperstart.PS_CONTAINER,
}
"""What a runtime may have passed on, by the names that it uses."""
STARTS: Final = frozenset({"newcontainer", "execcmd"})
"""Those that start a process, which has a session."""

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises of bytes that are no JSON."""
_SOURCES: Final = ("shim", "runtime")
_LEVELS: Final = ("debug", "info", "warn", "error")


class BadRequest(ValueError):
    """A command that is answered with an error; the connection goes on."""


class RegisterVm(msgspec.Struct, frozen=True, rename="camel"):
    container_id: str
    ctl_serial: str
    io_serial: str
    console: str = ""
    num_io_streams: int = msgspec.field(default=0, name="numIOStreams")


class AttachVm(msgspec.Struct, frozen=True, rename="camel"):
    container_id: str
    num_io_streams: int = msgspec.field(default=0, name="numIOStreams")


class UnregisterVm(msgspec.Struct, frozen=True, rename="camel"):
    container_id: str


class Hyper(msgspec.Struct, frozen=True, rename="camel"):
    hyper_name: str
    tokens: list[str] | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class ConnectShim(msgspec.Struct, frozen=True):
    token: str


class Signal(msgspec.Struct, frozen=True, rename="camel"):
    signal_number: int
    columns: int = 0
    rows: int = 0


class Log(msgspec.Struct, frozen=True, rename="camel"):
    source: str
    level: str
    msg: str
    container_id: str = ""

    @property
    def is_valid(self) -> bool:
        return self.source in _SOURCES and self.level in _LEVELS and bool(self.msg)


def decode(payload: bytes, kind: type[Payload]) -> Payload:
    """Raises BadRequest."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except _UNREADABLE as error:
        raise BadRequest(f"{kind.__name__}: {error}") from None


def with_streams(data: bytes, base: int) -> tuple[bytes, str]:
    """What starts a process, with the numbers of its streams put in, and its container's id.

    Raises:
        BadRequest: it names numbers itself, or is no description of a process.
    """
    try:
        document: Any = msgspec.json.decode(data)
        process = document["process"]
        terminal = bool(process.get("terminal"))
        taken = process.get("stdio") or process.get("stderr")
        container = str(document.get("id") or document.get("container") or "")
    except (*_UNREADABLE, AttributeError, KeyError, TypeError):
        raise BadRequest("there is no process in what should start one") from None
    if taken:
        raise BadRequest("stdio and stderr are the proxy's to set")
    process["stdio"] = base
    process.pop("stderr", None)
    if not terminal:
        process["stderr"] = base + 1
    return msgspec.json.encode(document), container
