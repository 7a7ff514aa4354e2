"""Our agent as a program on this host (`host_agent`), for tests of what is in front of an agent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).parents[2]


class AgentProgram:
    """Runs from its making on. The processes of its containers end with it, as a guest's do.

    Args:
        channels: the agent's sockets, which it takes over.
        folder: for what it keeps.
        words: of its kernel's command line.
        listens: the socket listens, as a vsock port does.
    """

    def __init__(
        self, channels: list[socket.socket], folder: Path, *words: str, listens: bool = False
    ) -> None:
        numbers = [channel.fileno() for channel in channels]
        where = ("listen:" if listens else "") + ",".join(map(str, numbers))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.guest.host_agent", where, str(folder), *words],
            cwd=_ROOT,
            pass_fds=numbers,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for channel in channels:
            channel.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it. Fails with its log where something went wrong in it that it did not expect."""
        self.kill()
        log = self._process.communicate()[1].decode()
        assert "Traceback" not in log, log
