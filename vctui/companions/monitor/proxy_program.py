"""A proxy that is a program of its own, kata-proxy or cc-proxy: its life, its log, its last words.

It outlives the monitor that has started it: the next one finds it by its arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vctui.companions.monitor import foreign_log
from vctui.companions.monitor.lines import clean
from vctui.linux import files, process
from vctui.linux.process import Spawned

_SYSLOG: Final = Path("/dev/log")
_GOODBYE: Final = 2.0
_WORDS: Final = 300
_FIELD: Final = re.compile(r'([\w-]+)=("(?:[^"\\]|\\.)*"|\S*)')
_FAILURES: Final = frozenset({"error", "fatal", "panic"})
"""Levels of entries that say why a program ends."""


class ProxyProgram:
    """
    Args:
        name: what it is called in messages.
        argv: its command line, which names `socket`.
        socket: where it listens; one that is there is removed before it starts.
        log: takes what it writes to its standard outputs.
        needs_syslog: said where it ends on a host that has none.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        socket: Path,
        log: Path,
        needs_syslog: bool,
    ) -> None:
        self.argv = argv
        self._name = name
        self._socket = socket
        self._log = log
        self._needs_syslog = needs_syslog
        self._program: Spawned | None = None

    def find(self) -> bool:
        """Whether there is one that a monitor before us has left; it is taken over then."""
        left = process.find_by_argument(self._socket, beside=self.argv)
        self._program = left[0] if left else None
        return bool(left)

    def start(self) -> None:
        """Raises OSError."""
        self._socket.unlink(missing_ok=True)
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._program = process.spawn_detached(self.argv, stdout=log, stderr=log)
        finally:
            os.close(log)

    async def ended(self) -> str:
        """Return when it has ended: how, in words. Its log is kept small meanwhile."""
        if self._program is None:
            return f"{self._name} was not started"
        pid = self._program.pid
        trimming = asyncio.create_task(foreign_log.bound([self._log]))
        try:
            status = await process.wait_end(pid, self._program.started)
        finally:
            trimming.cancel()
            await asyncio.gather(trimming, return_exceptions=True)
        how = "ended" if status is None or status >= 0 else f"was killed by signal {-status}"
        words = "".join(_failure(clean(line)) for line in files.tail(self._log, lines=1))
        said = f": {words[:_WORDS]}" if words and (status is None or status >= 0) else ""
        return f"{self._name} (process {pid}) {how}{said}{self._hint(words)}"

    def _hint(self, words: str) -> str:
        if self._needs_syslog and not _SYSLOG.exists():
            return f" (it needs a syslog daemon, and there is no {_SYSLOG})"
        if self._needs_syslog and "syslog" in words:
            return f" (it needs a syslog daemon that listens at {_SYSLOG})"
        return ""

    def cannot_start(self, error: OSError) -> str:
        return f"{self._name} cannot be started with {self.argv[0]}: {error.strerror}"

    def send(self, number: signal.Signals) -> None:
        if self._program is not None:
            process.send(self._program, number)

    async def end(self, *, patience: float = 0.0) -> None:
        """Wait for it to end by itself, then see to it. Idempotent."""
        if self._program is None:
            return
        pid, started = self._program.pid, self._program.started
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await process.wait_end(pid, started)
        with contextlib.suppress(TimeoutError):
            await process.terminate(pid, started, timeout=_GOODBYE)


def _failure(line: str) -> str:
    """What a line of the program's log says that went wrong; "" for an entry of anything else."""
    fields = {key: value.strip('"') for key, value in _FIELD.findall(line)}
    if "level" not in fields or "msg" not in fields:
        return line
    if fields["level"] not in _FAILURES:
        return ""
    return ": ".join(filter(None, (fields["msg"], fields.get("error", ""))))
