"""A console over pods that live in memory only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.fakes.fake_runtime import FakeRuntime
from vctui.settings import Paths, Settings
from vctui.tui.app import ConsoleApp

DEADLINE = 10.0
"""Seconds until a condition that does not come true fails the test."""


class Console:
    """The app under test, with words for what tests want to know."""

    def __init__(
        self, app: ConsoleApp, pilot: Pilot[int], runtime: FakeRuntime | None = None
    ) -> None:
        self.app = app
        self.pilot = pilot
        self.runtime = runtime or FakeRuntime()
        self.main = app.main

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Give the app its turns until `condition` holds."""
        loop_time = self.app._loop.time if self.app._loop else None
        assert loop_time is not None
        end = loop_time() + DEADLINE
        while not condition():
            if loop_time() > end:
                raise AssertionError(f"did not happen: {what or condition}\n{self.text}")
            await self.pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def sees(self, words: str) -> None:
        await self.until(lambda: words in self.text, f"{words!r} on the screen")

    @property
    def text(self) -> str:
        """What is on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    @property
    def footer(self) -> set[str]:
        """What the footer offers."""
        return {hint.label for hint in self.main.footer.hints}

    @property
    def notices(self) -> list[str]:
        return [notification.message for notification in self.app._notifications]

    async def select(self, pod_id: str) -> None:
        self.main.pods.select(pod_id)
        await self.until(lambda: self.main.context.pod and self.main.context.pod.id == pod_id)
        await self.pilot.pause()


OpenConsole = Callable[..., AbstractAsyncContextManager[Console]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {name: str(tmp_path / name) for name in Paths.__struct_fields__}
    return Settings(paths=Paths(**folders))


@pytest.fixture
def open_console(settings: Settings) -> OpenConsole:
    """Open a console on a FakeRuntime; `changes` replace sections of the settings."""

    @asynccontextmanager
    async def opened(
        runtime: FakeRuntime,
        *,
        size: tuple[int, int] = (120, 40),
        read_only: bool = False,
        **changes: Any,
    ) -> AsyncIterator[Console]:
        runtime.read_only = read_only
        app = ConsoleApp(
            msgspec.structs.replace(settings, **changes),
            read_only=read_only,
            open_runtime=lambda *_: runtime,  # type: ignore[arg-type, return-value]
        )
        try:
            async with app.run_test(size=size, notifications=True) as pilot:
                console = Console(app, pilot, runtime)
                await console.until(lambda: app.main._connected, "the engine is open")
                await console.until(
                    lambda: app.main.pods.total == len(runtime.pods), "the pods are shown"
                )
                yield console
        finally:
            assert app.gateway.stop(grace=0, limit=DEADLINE)

    return opened
