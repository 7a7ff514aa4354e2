"""What the kernel command line says to the agent (sheet §8), and where things are."""

from __future__ import annotations

LEVELS = {
    "trace": 10,
    "debug": 10,
    "info": 20,
    "warn": 30,
    "warning": 30,
    "error": 40,
    "critical": 50,
    "fatal": 50,
    "panic": 50,
}

PROTOCOL = "vctui.protocol"
"""Kernel parameter: what the agent speaks on its channel."""
TTRPC = "ttrpc"
GRPC = "grpc"
HYPERSTART = "hyperstart"
CC_AGENT = "cc-agent"
"""hyperstart's, as Clear Containers' agent has it."""
PROTOCOLS = (TTRPC, GRPC, HYPERSTART, CC_AGENT)
SOCKET = "vctui.socket"
"""Kernel parameter: where the agent is talked to."""
SERIAL = "serial"
VSOCK = "vsock"
SOCKETS = (SERIAL, VSOCK)


class Config:
    """Options and paths; a test gives other paths.

    Raises:
        ValueError: for a value that an option cannot have, as the Kata agent does.
    """

    def __init__(
        self,
        cmdline: str = "",
        *,
        run: str = "/run/vctui",
        kata: str = "/run/kata-containers",
        cgroup: str = "/sys/fs/cgroup",
        proc: str = "/proc",
        sys: str = "/sys",
        crun: str = "/usr/bin/crun",
        busybox: str = "/bin/busybox",
    ) -> None:
        self.run = run
        """Bundles and scratch files."""
        self.kata = kata
        """Where the protocol has sandbox files and the share."""
        self.shared = f"{kata}/shared/containers"
        self.cgroup = cgroup
        self.proc = proc
        self.sys = sys
        self.crun = crun
        self.busybox = busybox
        self.level = LEVELS["info"]
        self.debug_console = False
        self.protocol = TTRPC
        self.socket = SERIAL
        for word in cmdline.split():
            key, _, value = word.partition("=")
            if key == "agent.log":
                if value not in LEVELS:
                    raise ValueError(f"agent.log={value} is not one of {', '.join(LEVELS)}")
                self.level = LEVELS[value]
            elif key == "agent.debug_console" and not value:
                self.debug_console = True
            elif key == PROTOCOL:
                if value not in PROTOCOLS:
                    raise ValueError(f"{word} is not one of {', '.join(PROTOCOLS)}")
                self.protocol = value
            elif key == SOCKET:
                if value not in SOCKETS:
                    raise ValueError(f"{word} is not one of {', '.join(SOCKETS)}")
                self.socket = value
