"""What engines say to a pod's monitor.

The monitor's one socket speaks ttrpc. Requests to SERVICE are the monitor's own, below;
all others are passed to the guest's agent, with the stream ids mapped per client.
So a command needs a single connection for both.

Payloads of SERVICE are JSON of the structures here (there is no foreign peer to please);
Attach and Console are ttrpc streams: after the request, both sides send Data frames whose
first byte is a channel. The monitor's first one is empty output and says: you are attached.
"""

from __future__ import annotations

from typing import Final

import msgspec

SERVICE: Final = "vctui.Monitor"

PROXY: Final = "proxy.sock"
"""In the pod's folder, where the agent speaks gRPC: each connection is one to the agent itself."""
TTRPC: Final = "ttrpc"
GRPC: Final = "grpc"
HYPERSTART: Final = "hyperstart"
"""What an agent speaks."""

# channels of Data frames
STDIN: Final = 0
"""client → process: bytes."""
STDOUT: Final = 1
STDERR: Final = 2
RESIZE: Final = 3
"""client → process: JSON of Size."""
CLOSE_STDIN: Final = 4
"""client → process: no bytes follow."""
EXIT: Final = 5
"""monitor → client: JSON of Exit; the last frame of an attachment."""


class Size(msgspec.Struct, frozen=True):
    rows: int
    columns: int


class Exit(msgspec.Struct, frozen=True):
    """How a process ended. `exit_code` is None where that could not be learnt (VM gone)."""

    exit_code: int | None
    reason: str = ""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """`Hello`: no payload → this."""

    pid: int
    pod_id: str
    agent_open: bool
    """The guest has opened the agent's channel."""
    protocol: str = TTRPC
    """What the agent speaks: with TTRPC the monitor passes calls on, with GRPC clients have
    connections of their own at `PROXY`."""
    agent_url: str = ""
    """Where an agent on the machine's vsock device is reached, `vsock://CID:PORT` or
    `hvsock://PATH:PORT`."""


class AwaitAgent(msgspec.Struct, frozen=True, kw_only=True):
    """`AwaitAgent`: answers with Hello as soon as the guest has opened the agent's channel
    and the agent has answered a health check; UNAVAILABLE with the machine's last words
    if the machine ends before, FAILED_PRECONDITION if the agent was given up,
    DEADLINE_EXCEEDED after `timeout` seconds, with what is seen of the guest's end."""

    timeout: float


class StartShim(msgspec.Struct, frozen=True, kw_only=True):
    """`StartShim`: stand for a process from now on → Hello with the pid of what stands for it,
    the monitor itself or a program.

    The monitor reads its stdout and stderr, keeps a bounded replay buffer,
    copies them to the container's log where `log` is set, waits for its end,
    and records the end in the store. FAILED_PRECONDITION where `console` cannot be used.
    """

    container_id: str
    token: str
    """Exec id for the agent; equals `container_id` for the container's first process."""
    terminal: bool = False
    log: bool = False
    console: str = ""
    """Path of a terminal of the host that the process is connected to."""


class WaitExit(msgspec.Struct, frozen=True, kw_only=True):
    """`WaitExit`: answers with Exit when the process has ended and the end is recorded."""

    token: str


class Attach(msgspec.Struct, frozen=True, kw_only=True):
    """`Attach` (stream): join a process's stdio."""

    token: str
    replay: int = 0
    """Bytes of recent output to begin with, at most."""
    rows: int = 0
    columns: int = 0


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """`Console` (stream): join the guest's serial console."""

    replay: int = 0


# `Quit`: no payload, no answer payload: the monitor stops watching and exits.


def data(channel: int, payload: bytes = b"") -> bytes:
    """The body of a Data frame."""
    return bytes((channel,)) + payload


def split(body: bytes) -> tuple[int, bytes]:
    """Channel and payload of a Data frame's body; an empty body is an empty STDIN."""
    return (body[0], body[1:]) if body else (STDIN, b"")
