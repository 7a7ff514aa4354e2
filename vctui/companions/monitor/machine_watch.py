"""Watches the machine: what QMP says of it, and its process, which is the authority of its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from vctui.companions.monitor.verdict import Evidence
from vctui.errors import HypervisorError
from vctui.linux import files, process
from vctui.model.hypervisor import Machine

_RETRY: Final = 0.1
_LAST_EVENTS: Final = 1.0
"""Seconds for events that were sent before QEMU ended and are still in the socket."""
_STDERR_LINES: Final = 16


class Qmp(Protocol):
    """A QMP session (drivers/hypervisors/qemu/qmp.py)."""

    async def execute(self, command: str, arguments: dict[str, object] | None = None) -> Any:
        """Raises HypervisorError."""

    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Ends with the connection."""


ConnectQmp = Callable[[Path], AbstractAsyncContextManager[Qmp]]


class MachineWatch:
    """Tells of the guest's ports as they open and close, and returns when the machine ends."""

    def __init__(
        self,
        run_dir: Path,
        machine: Machine | None,
        connect_qmp: ConnectQmp,
        *,
        port_chardev: str,
        on_port: Callable[[bool], None],
    ) -> None:
        self._run_dir = run_dir
        self._machine = machine
        self._connect_qmp = connect_qmp
        self._port_chardev = port_chardev
        self._on_port = on_port
        self._shutdown = ""
        self._panicked = False

    @property
    def is_ending(self) -> bool:
        """Whether QEMU has said that it is going to end."""
        return bool(self._shutdown)

    async def run(self) -> Evidence:
        """What was seen, without the console. Returns when the machine has ended."""
        events = asyncio.create_task(self._follow())
        try:
            if self._machine is not None and self._machine.pid > 0:
                await process.wait_end(self._machine.pid, self._machine.pid_started)
                await asyncio.wait({events}, timeout=_LAST_EVENTS)
            else:
                await events
        finally:
            events.cancel()
            await asyncio.gather(events, return_exceptions=True)
        return Evidence(
            shutdown=self._shutdown,
            panicked=self._panicked,
            stderr=b"\n".join(
                files.tail(self._run_dir / "qemu.log", lines=_STDERR_LINES, limit=16384)
            ),
        )

    async def _follow(self) -> None:
        """Follow QMP until the machine is gone."""
        while True:
            with contextlib.suppress(HypervisorError, OSError):
                async with self._connect_qmp(self._run_dir / "mon.sock") as qmp:
                    await self._ask_for_port(qmp)
                    async for event in qmp.events():
                        await self._take(qmp, event)
            if self._machine is None or not process.is_alive(
                self._machine.pid, self._machine.pid_started
            ):
                return
            await asyncio.sleep(_RETRY)

    async def _take(self, qmp: Qmp, event: dict[str, Any]) -> None:
        data = event.get("data", {})
        match event.get("event"):
            case "SHUTDOWN":
                self._shutdown = str(data.get("reason", "unknown"))
            case "GUEST_PANICKED":
                self._panicked = True
            case "VSERPORT_CHANGE":
                # one that was closed and opened again is open when it is asked for
                if data.get("id") == self._port_chardev and not data.get("open"):
                    self._on_port(False)
                await self._ask_for_port(qmp)

    async def _ask_for_port(self, qmp: Qmp) -> None:
        for chardev in await qmp.execute("query-chardev"):
            if chardev.get("label") == self._port_chardev:
                self._on_port(bool(chardev.get("frontend-open")))
