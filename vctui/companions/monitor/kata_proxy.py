"""The way to a Kata 1.x agent through an external kata-proxy (proxies-and-shims sheet, §1.2, §2).

The program holds the one yamux connection; each connection to its socket is one to the agent. We
start it when the guest has opened the agent's port, as what it sends before that is lost and it
does not try again, and we are told at once when it ends.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vctui.companions.monitor import console_socket, slimming
from vctui.companions.monitor.grpc_link import GrpcLink
from vctui.companions.monitor.proxy_program import ProxyProgram
from vctui.model.proxy import ProxyConfig

if TYPE_CHECKING:
    from vctui.drivers.grpc_client import Session

_STARTS: Final = 3
"""Of the program, before it is given up: an agent survives few connections to its channel."""
_AGAIN: Final = 0.1


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
        self._is_unwanted = False
        """The program is to end, as its session is over."""
        self._program = ProxyProgram(
            "kata-proxy", self.argv(), socket=serve_at, log=log, needs_syslog=True
        )

    def argv(self) -> Sequence[str]:
        return (
            self._config.path,
            *("-listen-socket", f"unix://{self._serve_at}"),
            *("-mux-socket", str(self._path)),
            *(("-log", "debug", *self._logs()) if self._config.debug else ()),
        )

    def _logs(self) -> Sequence[str]:
        return ("-agent-logs-socket", str(self._serve_at.with_name(console_socket.SOCKET)))

    def _hang_up(self) -> None:
        """The program does not notice that its session is over."""
        self._is_unwanted = True
        self._program.send(signal.SIGTERM)

    async def run(self, *, adopting: bool) -> None:
        """Start the program, and start it again, until cancelled or it has ended too often."""
        if adopting and not self._program.find():
            self._port.used()  # before anything is heard of the port
        slimming.before_grpc()
        from vctui.drivers.grpc_client import Session

        self._session = session = Session.over_unix(self._serve_at)
        starts = 0
        try:
            while True:
                await self._port.fresh()
                self._port.used()
                starts += 1
                self._is_unwanted = False
                why = await self._stand_by(session)
                if self._is_unwanted:
                    starts = 0
                    continue
                again = starts < _STARTS
                self._warn(
                    f"{why}; "
                    + ("it is started again" if again else "it stays away, restart the pod")
                )
                if not again:
                    self._give_up(why)
                    return
                await asyncio.sleep(_AGAIN)
        finally:
            self._program.send(signal.SIGTERM)

    async def close(self) -> None:
        await super().close()
        await self._program.end()

    async def _stand_by(self, session: Session) -> str:
        """One program from its start to its end; gives how that came, in words."""
        try:
            if not self._program.find():
                self._program.start()
        except OSError as error:
            return self._program.cannot_start(error)
        check = asyncio.create_task(self._check(session))
        try:
            return await self._program.ended()
        finally:
            self._ready.clear()
            self._cut_off()
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)

    async def _check(self, session: Session) -> None:
        await session.answered()  # it takes a moment until it listens
        self._ready.set()
