"""Be told of changes of a file or folder by the kernel (inotify)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from asyncinotify import Inotify, Mask

_CHANGES = Mask.ATTRIB | Mask.MODIFY | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
_GONE = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT


async def changes(path: Path) -> AsyncGenerator[None, None]:
    """Yields once as soon as the watch stands, then after changes of `path`, several as one.

    `path` is a folder, whose entries count, or a file, which may be missing, or replaced by
    another one: what is watched is its folder. The iteration ends when the folder is removed.

    Raises:
        OSError: there is no such folder, or the user watches too much already.
    """
    folder, name = (path, None) if path.is_dir() else (path.parent, path.name)  # noqa: ASYNC240
    rung = asyncio.Event()
    with Inotify() as inotify:
        inotify.add_watch(folder, _CHANGES | _GONE | Mask.ONLYDIR)
        pump = asyncio.create_task(_pump(inotify, name, rung))
        try:
            yield
            while not pump.done():
                await rung.wait()
                rung.clear()
                yield
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump


async def _pump(inotify: Inotify, name: str | None, rung: asyncio.Event) -> None:
    async for event in inotify:
        gone = bool(event.mask & (_GONE | Mask.IGNORED))
        if gone or name is None or str(event.name) == name or event.mask & Mask.Q_OVERFLOW:
            rung.set()
        if gone:
            return
