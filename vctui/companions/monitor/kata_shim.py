"""kata-shim's command line, and what it leaves to us (proxies-and-shims sheet, §1.3, §4)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from vctui.companions.monitor.program_shim import Family
from vctui.companions.monitor.shim import AGENT, Agent
from vctui.drivers.ttrpc_client import CallFailed
from vctui.model.shim import ShimConfig
from vctui.wire import monitor
from vctui.wire.proto import message

_ANSWER: Final = 15.0
"""Seconds."""


class Way(Agent, Protocol):
    """What the programs and we need of the way to the agent."""

    @property
    def is_ready(self) -> bool: ...

    async def settled(self) -> str:
        """Return when the agent answers (again), "", or why it was given up."""


class KataShim(Family):
    """
    Args:
        socket: where the agent's gRPC is served, with a proxy or without. What is left of a pod is
            found by it.
        agent: the way there, for what the program does not do.
    """

    def __init__(self, config: ShimConfig, socket: Path, agent: Way) -> None:
        self._config = config
        self._socket = socket
        self._agent = agent

    @property
    def has_way(self) -> bool:
        return self._agent.is_ready

    async def way_back(self) -> str:
        return await self._agent.settled()

    def argv(self, start: monitor.StartShim) -> Sequence[str]:
        return (
            self._config.path,
            *("-agent", f"unix://{self._socket}"),
            *("-container", start.container_id),
            *("-exec-id", start.token),
            *(("-terminal",) if start.terminal else ()),
            *(("-log", "debug") if self._config.debug else ()),
        )

    async def resize(self, start: monitor.StartShim, size: monitor.Size) -> None:
        """Newer ones tell no size before the first SIGWINCH, which may come before they listen."""
        request = message("TtyWinResizeRequest")(
            container_id=start.container_id,
            exec_id=start.token,
            row=size.rows,
            column=size.columns,
        )
        await self._agent.call(AGENT, "TtyWinResize", request.encode())

    async def kill(self, start: monitor.StartShim) -> None:
        request = message("SignalProcessRequest")(
            container_id=start.container_id, exec_id=start.token, signal=signal.SIGKILL
        )
        # it may have ended, and is not known any more; or nobody knows anything any more
        with contextlib.suppress(CallFailed, TimeoutError):
            async with asyncio.timeout(_ANSWER):
                await self._agent.call(AGENT, "SignalProcess", request.encode())
