"""The way to a Kata 1.x agent through an external kata-proxy (proxies-and-shims sheet, §1.2, §2).

The program holds the one yamux connection; each connection to its socket is one to the agent. We
start it when the guest has opened the agent's port, as what it sends before that is lost and it
does not try again, and we are told at once when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vctui.companions.monitor import slimming
from vctui.companions.monitor.grpc_link import GrpcLink
from vctui.companions.monitor.lines import clean
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import files, process
from vctui.linux.process import Spawned
from vctui.model.proxy import ProxyConfig

LOG: Final = "proxy.log"
_SYSLOG: Final = Path("/dev/log")
_STARTS: Final = 3
"""Of the program, before it is given up: an agent survives few connections to its channel."""
_AGAIN: Final = 0.1
_CHECK: Final = 30.0
_GOODBYE: Final = 2.0
_TRIM: Final = 10.0
"""Seconds between looks at the size of the log."""
_MAX_LOG: Final = 16 * 1024 * 1024


class KataProxyLink(GrpcLink):
    """Has the face of the other links; the program comes and goes with it.

    Args:
        log: takes what the program writes to its standard error.
    """

    def __init__(
        self,
        config: ProxyConfig,
        path: Path,
        serve_at: Path,
        log: Path,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(path, serve_at, warn)
        self._config = config
        self._log = log
        self._program: Spawned | None = None

    def argv(self) -> Sequence[str]:
        return (
            self._config.path,
            *("-listen-socket", f"unix://{self._serve_at}"),
            *("-mux-socket", str(self._path)),
            *(("-log", "debug") if self._config.debug else ()),
        )

    def port_closed(self) -> None:
        """The program does not notice that its session is over."""
        if self._port.is_set():
            self._port.clear()
            self._end()

    async def run(self, *, adopting: bool) -> None:
        """Start the program, and start it again, until cancelled or it has ended too often."""
        slimming.before_grpc()
        from vctui.drivers.grpc_client import Session

        self._session = Session.over_unix(self._serve_at)
        starts = 0
        try:
            while True:
                await self._port.wait()
                starts += 1
                why = await self._stand_by()
                if not self._port.is_set():
                    starts = 0
                    continue
                again = starts < _STARTS
                self._warn(
                    f"kata-proxy {why}; "
                    + ("it is started again" if again else "it stays away, restart the pod")
                )
                if not again:
                    self.given_up = f"kata-proxy {why}"
                    return
                await asyncio.sleep(_AGAIN)
        finally:
            self._end()

    async def close(self) -> None:
        await super().close()
        if self._program is not None:
            with contextlib.suppress(TimeoutError):
                await process.terminate(self._program.pid, self._program.started, timeout=_GOODBYE)

    async def _stand_by(self) -> str:
        """One program from its start to its end; gives how that came, in words."""
        try:
            program = self._program = self._running() or self._start()
        except OSError as error:
            return f"cannot be started with {self._config.path}: {error.strerror}"
        companions = [asyncio.create_task(self._check()), asyncio.create_task(self._trim())]
        try:
            status = await process.wait_end(program.pid, program.started)
        finally:
            self._ready.clear()
            for task in companions:
                task.cancel()
            await asyncio.gather(*companions, return_exceptions=True)
        return f"(process {program.pid}) {self._how(status)}"

    def _how(self, status: int | None) -> str:
        how = "ended" if status is None or status >= 0 else f"was killed by signal {-status}"
        words = files.tail(self._log, lines=1)
        said = f": {clean(words[-1])[:300]}" if words else ""
        return how + said + ("" if _SYSLOG.exists() else f" (it needs a syslog socket, {_SYSLOG})")

    def _running(self) -> Spawned | None:
        """The program that a monitor before us has left."""
        left = process.find_by_argument(self._serve_at, beside=[self._config.path])
        return left[0] if left else None

    def _start(self) -> Spawned:
        """Raises OSError."""
        self._serve_at.unlink(missing_ok=True)  # it refuses to start where there is one
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return process.spawn_detached(self.argv(), stdout=log, stderr=log)
        finally:
            os.close(log)

    async def _check(self) -> None:
        """Return when the agent has answered its health check, whatever it says."""
        while self._session is not None:
            try:
                await self._session.call("grpc.Health", "Check", timeout=_CHECK)
            except (ConnectionLost, OSError):  # it takes a moment until it listens
                await asyncio.sleep(_AGAIN)
                continue
            except CallFailed:
                pass
            self._ready.set()
            return

    async def _trim(self) -> None:
        """Nobody else bounds what it writes, which goes on when we do not."""
        while True:
            with contextlib.suppress(OSError):
                if self._log.stat().st_size > _MAX_LOG:
                    os.truncate(self._log, 0)
            await asyncio.sleep(_TRIM)

    def _end(self) -> None:
        if self._program is not None:
            process.send(self._program, signal.SIGTERM)
