"""What the main screen and the dialogs share, so that opening one does not hold the next key up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from textual import events, on
from textual.geometry import Size
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen

from vctui.tui.messages import Discarded
from vctui.tui.screens.dimmed import Dimmed
from vctui.tui.screens.painter import Painter

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")

GLANCE: Final = 1.0
"""Seconds between two pictures of what lies below a dialog, however fast it changes."""


class Sheet(Screen[T]):
    """A screen that does once what Textual (8.2) does twice or more when it opens, and lets the
    loop look at its keys between two steps."""

    def __init__(
        self,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's word
        classes: str | None = None,
    ) -> None:
        super().__init__(name, id, classes)
        self._compositor = Painter()
        self._laying_out = False

    async def on_event(self, event: events.Event) -> None:
        await asyncio.sleep(0)
        self._laying_out = isinstance(event, events.ScreenResume | events.Resize)
        try:
            await super().on_event(event)
        finally:
            self._laying_out = False

    @on(events.Compose)
    def _fit(self) -> None:
        """Before the first style is applied: all would be applied again after the first layout."""
        width, height = self.app.size
        across, down = self.HORIZONTAL_BREAKPOINTS or (), self.VERTICAL_BREAKPOINTS or ()
        for room, breakpoints in ((width, across), (height, down)):
            fitting = [name for least, name in sorted(breakpoints) if room >= least]
            self.add_class(*fitting[-1:], update=False)

    @on(events.Mount)
    def _begin_glancing(self) -> None:
        if self.is_modal and self.styles.background.a < 1:
            self.set_interval(GLANCE, self.refresh)

    @on(events.ScreenResume)
    def _keep_styles(self, event: events.ScreenResume) -> None:
        """They are applied when widgets are mounted, and when a theme or a class changes."""
        event.refresh_styles = False

    @on(events.Unmount)
    def _tell_end(self) -> None:
        self.app.post_message(Discarded())

    @property
    def is_current(self) -> bool:
        """Whether it is painted when it changes: what lies below a dialog is painted with that, and
        what has just been laid out with the next picture."""
        return self.is_active and not self._laying_out

    def render(self) -> RenderableType:
        shown = super().render()
        if isinstance(shown, BackgroundScreen):
            return Dimmed(shown.screen, shown.color)  # type: ignore[return-value]
        return shown

    def _screen_resized(self, size: Size) -> None:
        """Told also that the size is new to which it has just been laid out."""
        if size != self._compositor.size:
            super()._screen_resized(size)
            self.refresh()
