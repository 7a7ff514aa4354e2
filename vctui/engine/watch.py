"""Live views: told of each change by anybody, without asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from vctui.engine import recovery
from vctui.engine.context import Context
from vctui.errors import StoreError
from vctui.linux import notify
from vctui.model.events import Event

_PATROL = 2.0
"""Seconds between looks for monitors that died, and for the change of a writer that was killed
before it rang; everything else rings the store's doorbell."""


async def changes(ctx: Context) -> AsyncGenerator[None, None]:
    """Yields once at the start, then after each change in the store, several as one.

    While it is read, monitors that died are replaced.
    """
    rung = asyncio.Event()
    watchers = [asyncio.create_task(watch(ctx, rung)) for watch in (_listen, _patrol)]
    try:
        yield None
        while True:
            ring = asyncio.create_task(rung.wait())
            done, _ = await asyncio.wait({ring, *watchers}, return_when=asyncio.FIRST_COMPLETED)
            if ring not in done:
                ring.cancel()
                for failed in done:
                    await failed
            rung.clear()
            yield None
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


async def events(
    ctx: Context, *, after: int = 0, follow: bool = False
) -> AsyncGenerator[Event, None]:
    """The event log from behind `after` on, oldest first."""
    if not follow:
        for event in _unread(ctx, after):
            yield event
        return
    async with contextlib.aclosing(changes(ctx)) as rings:
        async for _ring in rings:
            for event in _unread(ctx, after):
                after = event.seq
                yield event


def _unread(ctx: Context, after: int) -> list[Event]:
    found: list[Event] = []
    while page := ctx.store.events(after=after):
        found += page
        after = page[-1].seq
    return found


async def _listen(ctx: Context, rung: asyncio.Event) -> None:
    if ctx.store.watch_path is None:
        raise StoreError("this store cannot be watched from outside; use one on disk")
    async for _ring in notify.changes(ctx.store.watch_path):
        rung.set()


async def _patrol(ctx: Context, rung: asyncio.Event) -> None:
    seen = ctx.store.last_seq()
    while True:
        await asyncio.sleep(_PATROL)
        await recovery.sweep(ctx)
        if (newest := ctx.store.last_seq()) != seen:
            seen = newest
            rung.set()
