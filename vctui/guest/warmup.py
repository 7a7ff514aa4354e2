"""What is done in a guest that is going to be saved, so that no pod that begins as it waits for it.

Where a machine is emulated, what matters is that it is *done*: modules imported, programs linked,
drivers inserted. How long that takes is nobody's time.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vctui.guest.crun import Crun
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop

_PATIENCE = 10.0
"""Seconds for what `/init` left to be done in the background."""
_LOOK_AGAIN = 0.02
_LAST_MOUNT = "/dev/shm"  # noqa: S108
"""What that ends with (vctui/image/initrd.py)."""


async def warm_up(loop: Loop, crun: Crun, log: Log) -> None:
    """Have everything ready that the first container of any pod needs."""
    waited = 0.0
    while not _is_initialised() and waited < _PATIENCE:
        await loop.sleep(_LOOK_AGAIN)
        waited += _LOOK_AGAIN
    _import_all()
    await crun.warm_up()
    log.info("ready to be saved as a template")


def _is_initialised() -> bool:
    return os.path.ismount(_LAST_MOUNT)


def _import_all() -> None:
    from vctui.guest import blocks, cgroup, devices, network, procfs, ps, users  # noqa: F401
