"""Kernel modules that only some pods need."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vctui.guest.children import Children
    from vctui.guest.config import Config


async def insert(children: Children, config: Config, *modules: str) -> None:
    """The kernel may have one built in; then there is nothing to insert, and nothing missing."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        words = ["busybox", "modprobe", "-a", *modules]
        _, ended = children.spawn(config.busybox, words, {}, dict.fromkeys(range(3), null))
        await ended
    finally:
        os.close(null)
