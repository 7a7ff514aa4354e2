"""The shims of a pod: one for each process that runs, and the ends of those that did."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from vctui.companions.monitor.host_console import HostConsole
from vctui.companions.monitor.logfile import LogFile
from vctui.companions.monitor.program_shim import Family, ProgramShim
from vctui.companions.monitor.standin import OnEnd, OnRenewed, StandIn
from vctui.drivers.ttrpc_client import CallFailed
from vctui.linux import terminals
from vctui.wire import ttrpc
from vctui.wire.monitor import Exit, StartShim

_ENDED_KEPT: Final = 256
"""Ended processes whose exit is remembered."""
_OUTPUT_KEPT: Final = 30.0
"""Seconds that the output of an ended process waits for a late client."""


class MakeStandIn(Protocol):
    """Makes the built-in shim of a process."""

    def __call__(
        self,
        start: StartShim,
        *,
        adopting: bool,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> StandIn: ...


class Processes:
    def __init__(
        self,
        *,
        stand_in: MakeStandIn,
        log_dir: Path,
        max_log_bytes: int,
        replay_bytes: int,
        on_end: OnEnd,
        on_renewed: OnRenewed,
        warn: Callable[[str], None],
    ) -> None:
        self._make = stand_in
        self._log_dir = log_dir
        self._max_log_bytes = max_log_bytes
        self._replay_bytes = replay_bytes
        self._on_end = on_end
        self._on_renewed = on_renewed
        self._warn = warn
        self._shims: OrderedDict[str, StandIn] = OrderedDict()
        self._tasks: dict[StandIn, asyncio.Task[None]] = {}
        self._family: Family | None = None
        self._consoles: dict[StandIn, HostConsole] = {}

    @property
    def has_programs(self) -> bool:
        """Programs stand for the processes."""
        return self._family is not None

    def leave_to(self, family: Family) -> None:
        """From now on programs of this family stand for the processes."""
        self._family = family

    async def start(self, wanted: StartShim, *, adopting: bool = False) -> int:
        """Stand for a process; gives the host process that does. One that runs already is left
        as it is.

        Raises:
            CallFailed: its console cannot be used, or the program that is to stand for it.
        """
        known = self._shims.get(wanted.token)
        if known is not None and not known.has_ended:
            return known.pid
        family = self._family
        if family is not None and adopting and not family.can_follow:
            family = None
        if family is not None:
            await family.prepare(wanted)
        console = _open(wanted) if wanted.console else None
        log = None
        if wanted.log:
            path = self._log_dir / f"{wanted.container_id}.log"
            log = LogFile(path, self._max_log_bytes, self._warn)
        shim = self._stand_in(wanted, log, family, adopting=adopting)
        if console is not None:
            self._consoles[shim] = HostConsole(console, shim, shim.output, raw=wanted.terminal)
            shim.join(self._consoles[shim], 0)
        self._shims[wanted.token] = shim
        self._shims.move_to_end(wanted.token)
        task = asyncio.create_task(shim.run())
        self._tasks[shim] = task
        task.add_done_callback(lambda _task: self._ended(shim))
        self._drop_oldest()
        return shim.pid

    async def end_former(self, wanted: StartShim) -> None:
        """End a program that another monitor has started: its streams led there."""
        if self._family is not None:
            await self._family.end_former(wanted)

    async def adopt(self, wanted: StartShim) -> int:
        """As `start`, for a process that runs already, though its console may be gone.

        Raises:
            CallFailed: as `start`, but for the console.
        """
        try:
            return await self.start(wanted, adopting=True)
        except CallFailed as error:
            if not wanted.console:
                raise
            self._warn(error.message)
            without = msgspec.structs.replace(wanted, console="")
            return await self.start(without, adopting=True)

    def cut_off(self) -> None:
        for shim in self._tasks:
            shim.cut_off()

    def not_started(self, token: str) -> None:
        if (shim := self._shims.get(token)) is not None:
            shim.abandon()

    async def close_input(self, token: str) -> None:
        if (shim := self._shims.get(token)) is not None:
            await shim.close_stdin()

    def get(self, token: str) -> StandIn | None:
        return self._shims.get(token)

    async def end_all(self, how: Exit) -> None:
        """The machine is gone: nobody will say how the processes ended."""
        for shim, task in tuple(self._tasks.items()):
            if not shim.is_ending:
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for shim in self._shims.values():
            shim.finish(how)

    async def leave_all(self) -> None:
        """Stop standing for anything; the processes go on."""
        for task in tuple(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for console in self._consoles.values():
            console.close()

    def _stand_in(
        self, wanted: StartShim, log: LogFile | None, family: Family | None, *, adopting: bool
    ) -> StandIn:
        if family is not None:
            return ProgramShim(
                wanted,
                family=family,
                log=log,
                replay_bytes=self._replay_bytes,
                on_end=self._on_end,
                on_renewed=self._on_renewed,
            )
        return self._make(
            wanted,
            adopting=adopting,
            log=log,
            replay_bytes=self._replay_bytes,
            on_end=self._on_end,
        )

    def _ended(self, shim: StandIn) -> None:
        self._tasks.pop(shim, None)
        shim.leave()
        if not shim.has_ended:
            return
        self._consoles.pop(shim, None)
        if shim.output.was_joined:
            shim.retire()
        else:
            asyncio.get_running_loop().call_later(_OUTPUT_KEPT, shim.retire)

    def _drop_oldest(self) -> None:
        ended = [token for token, shim in self._shims.items() if shim.has_ended]
        for token in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._shims[token]


def _open(wanted: StartShim) -> int:
    try:
        return terminals.open_terminal(wanted.console)
    except OSError as error:
        raise CallFailed(
            ttrpc.FAILED_PRECONDITION,
            f"the console {wanted.console!r} of container {wanted.container_id!r} cannot be used: "
            f"{error.strerror}; name a terminal of the host",
        ) from error
