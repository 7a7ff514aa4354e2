"""What is done in a guest that is going to be saved, so that no pod that begins as it waits for it.

Where a machine is emulated, what matters is that it is *done*: modules imported, programs linked,
drivers inserted, types made. How long that takes is nobody's time.
"""

from __future__ import annotations

import os

from vctui.guest import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vctui.guest.config import Config
    from vctui.guest.crun import Crun
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.mounts import Mounts

_PATIENCE = 10.0
"""Seconds for each thing that is done in the background."""
_LOOK_AGAIN = 0.02
_LAST_MOUNT = "/dev/shm"  # noqa: S108
"""What `/init` leaves to be done ends with this (vctui/image/initrd.py)."""


async def warm_up(loop: Loop, crun: Crun, mounts: Mounts, config: Config, log: Log) -> None:
    """Have everything ready that the first container of any pod needs. Once."""
    await _until(loop, lambda: os.path.ismount(_LAST_MOUNT))
    _import_all()
    try:
        cgroup.prepare(config.cgroup)
    except OSError as error:
        log.warning(f"the containers' parent group is not there yet: {error}")  # noqa: G004
    for waits in (crun.prepare(), mounts.prepare()):
        await _until(loop, waits)
    log.info("ready to be saved as a template")


async def _until(loop: Loop, holds: Callable[[], bool]) -> None:
    waited = 0.0
    while not holds() and waited < _PATIENCE:
        await loop.sleep(_LOOK_AGAIN)
        waited += _LOOK_AGAIN


def _import_all() -> None:
    from vctui.guest import blocks, devices, network, procfs, ps, users  # noqa: F401
    from vctui.wire.pb.tables import TABLES
    from vctui.wire.proto import message

    for name in TABLES:
        message(name)
