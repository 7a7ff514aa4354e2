"""Undo in reverse order when a step fails."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)


class Rollback:
    """Each step leaves its undo before the next begins; `keep` makes them all permanent.

    A failing undo is logged and does not keep the others from running.
    """

    def __init__(self) -> None:
        self._undos: list[tuple[Callable[..., Awaitable[None] | None], tuple[Any, ...]]] = []

    def push(self, undo: Callable[..., Awaitable[None] | None], *args: Any) -> None:
        self._undos.append((undo, args))

    def keep(self) -> None:
        self._undos.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._undos:
            undo, args = self._undos.pop()
            try:
                pending = undo(*args)
                if pending is not None:
                    await pending
            except Exception:
                log.exception("an undo step failed: %s", getattr(undo, "__qualname__", undo))
