"""The shims of a pod: one for each process that runs, and the ends of those that did."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vctui.companions.monitor.logfile import LogFile
from vctui.companions.monitor.shim import Agent, OnEnd, Shim
from vctui.wire.monitor import Exit, StartShim

_ENDED_KEPT: Final = 256
"""Ended processes whose exit is remembered."""
_OUTPUT_KEPT: Final = 30.0
"""Seconds that the output of an ended process waits for a late client."""


class Processes:
    def __init__(
        self,
        *,
        agent: Agent,
        log_dir: Path,
        max_log_bytes: int,
        replay_bytes: int,
        on_end: OnEnd,
        warn: Callable[[str], None],
    ) -> None:
        self._agent = agent
        self._log_dir = log_dir
        self._max_log_bytes = max_log_bytes
        self._replay_bytes = replay_bytes
        self._on_end = on_end
        self._warn = warn
        self._shims: OrderedDict[str, Shim] = OrderedDict()
        self._tasks: dict[Shim, asyncio.Task[None]] = {}

    def start(self, wanted: StartShim) -> None:
        """Stand for a process. One that runs already is left as it is."""
        known = self._shims.get(wanted.token)
        if known is not None and not known.has_ended:
            return
        log = None
        if wanted.log:
            path = self._log_dir / f"{wanted.container_id}.log"
            log = LogFile(path, self._max_log_bytes, self._warn)
        shim = Shim(
            wanted,
            agent=self._agent,
            log=log,
            replay_bytes=self._replay_bytes,
            on_end=self._on_end,
        )
        self._shims[wanted.token] = shim
        self._shims.move_to_end(wanted.token)
        task = asyncio.create_task(shim.run())
        self._tasks[shim] = task
        task.add_done_callback(lambda _task: self._ended(shim))
        self._drop_oldest()

    def get(self, token: str) -> Shim | None:
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

    def _ended(self, shim: Shim) -> None:
        self._tasks.pop(shim, None)
        if not shim.has_ended:
            return
        if shim.output.was_joined:
            shim.retire()
        else:
            asyncio.get_running_loop().call_later(_OUTPUT_KEPT, shim.retire)

    def _drop_oldest(self) -> None:
        ended = [token for token, shim in self._shims.items() if shim.has_ended]
        for token in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._shims[token]
