"""What is done in a guest that is going to be saved, so that no pod that begins as it waits for it.

Where a machine is emulated, what matters is that it is *done*: modules imported, programs linked,
drivers inserted, types made. How long that takes is nobody's time.
"""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest import cgroup, firstgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.crun import Crun
    from vctui.guest.firstgroup import FirstGroup
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.mounts import Mounts

_PATIENCE = 10.0
"""Seconds for each thing that is done in the background."""
_LOOK_AGAIN = 0.02
_LAST_MOUNT = "/dev/shm"  # noqa: S108
"""What `/init` leaves to be done ends with this (vctui/image/initrd.py)."""


class Warmup:
    def __init__(self, loop: Loop, children: Children, config: Config, log: Log) -> None:
        self._loop = loop
        self._children = children
        self._config = config
        self._log = log

    async def do(
        self, crun: Crun, mounts: Mounts, devices: list[dict[str, Any]]
    ) -> FirstGroup | None:
        """Have everything ready that the first container of any pod needs. Once.

        Args:
            devices: the device rules that it has, unless it asks for others.

        Returns:
            A control group for it; None where none can be made.
        """
        await self._until(lambda: os.path.ismount(_LAST_MOUNT))
        _import_all()
        group = await self._group(crun, devices)
        for waits in (crun.prepare(), mounts.prepare()):
            await self._until(waits)
        self._log.info("ready to be saved as a template")
        return group

    async def _group(self, crun: Crun, devices: list[dict[str, Any]]) -> FirstGroup | None:
        try:
            cgroup.prepare(self._config.cgroup)
            group = await firstgroup.make(crun, self._children, self._config, devices)
        except (AgentError, OSError) as error:
            self._log.warning(f"no control group is ready for the first container: {error}")
            return None
        await self._until(lambda: group.is_idle)
        return group

    async def _until(self, holds: Callable[[], bool]) -> None:
        waited = 0.0
        while not holds() and waited < _PATIENCE:
            await self._loop.sleep(_LOOK_AGAIN)
            waited += _LOOK_AGAIN


def _import_all() -> None:
    from vctui.guest import blocks, devices, network, procfs, ps, users  # noqa: F401
    from vctui.wire.pb.tables import TABLES
    from vctui.wire.proto import message

    for name in TABLES:
        message(name)
