"""The log view as an operator uses it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Offset, Region
from textual.pilot import Pilot
from textual.selection import Selection
from textual.strip import Strip

from vctui.model.logs import LogLine
from vctui.tui import strips
from vctui.tui.widgets.log_ring import MAX_LINES
from vctui.tui.widgets.log_view import LogView

WIDTH, HEIGHT = 40, 12


class Shell(App[None]):
    CSS = "LogView { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }"

    def compose(self) -> ComposeResult:
        yield LogView()


class Stage:
    def __init__(self, app: Shell, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.view = app.query_one(LogView)

    @property
    def lines(self) -> list[str]:
        size = self.view.scrollable_content_region.size
        return [strip.text.rstrip() for strip in self.view.render_lines(size.region)]

    async def append(self, *texts: str | LogLine) -> None:
        """Add lines and wait until the last one has been taken in."""
        lines = [LogLine(text=text.encode()) if isinstance(text, str) else text for text in texts]
        end = self.view.dropped + self.view.line_count + len(lines)
        self.view.append(lines)
        await self.until(lambda: self.view.dropped + self.view.line_count >= end)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self.pilot.pause(0.01)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    app = Shell()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        stage = Stage(app, pilot)
        stage.view.focus()
        await pilot.pause()
        yield stage


async def test_it_follows_until_the_operator_scrolls_up() -> None:
    async with staged() as stage:
        await stage.append(*(f"line {n}" for n in range(50)))
        assert stage.lines[-1] == "line 49"
        await stage.press("k")
        assert not stage.view.follow
        await stage.append("line 50")
        assert stage.lines[-1] == "line 48"
        await stage.press("G")
        assert stage.view.follow
        await stage.append("line 51")
        assert stage.lines[-1] == "line 51"
        await stage.press("g")
        assert stage.lines[0] == "line 0"
        await stage.press("f")
        assert stage.lines[-1] == "line 51"


async def test_lines_before_it_is_mounted_are_shown() -> None:
    async with staged() as stage:
        view = LogView()
        view.append([LogLine(text=b"early")])
        view.note("no more will come")
        await stage.app.mount(view)
        await stage.until(lambda: view.line_count == 2)
        assert view.render_line(0).text.rstrip() == "early"
        assert view.render_line(1).text.rstrip() == "no more will come"


async def test_only_the_newest_stay_and_the_rest_is_counted() -> None:
    async with staged() as stage:
        await stage.append(*(f"line {n}" for n in range(MAX_LINES + 234)))
        assert (stage.view.line_count, stage.view.dropped) == (MAX_LINES, 234)
        await stage.press("g")
        assert stage.lines[0] == "234 earlier lines dropped"
        assert stage.lines[1] == "line 234"
        await stage.append("more")
        assert stage.lines[:2] == ["235 earlier lines dropped", "line 235"]
        stage.view.append([LogLine(text=b"x")] * (3 * MAX_LINES))
        assert stage.view.dropped == MAX_LINES + 235 + 2 * MAX_LINES
        await stage.press("C")
        assert (stage.view.line_count, stage.view.dropped) == (0, 0)
        assert stage.lines[0] == ""


async def test_a_reader_of_old_lines_is_not_moved() -> None:
    async with staged() as stage:
        await stage.append(*(f"line {n}" for n in range(MAX_LINES)))
        await stage.press("pageup", "pageup")
        before = stage.lines
        await stage.append(*(f"more {n}" for n in range(500)))
        assert stage.lines == before


async def test_wrapping_keeps_the_place() -> None:
    async with staged() as stage:
        await stage.append(*(f"{n:02d} " + "x" * 60 for n in range(30)))
        assert stage.lines[-1].startswith("29 ")
        await stage.press("w")
        width = stage.view.scrollable_content_region.width
        assert stage.lines[-2].startswith("29 ")
        assert stage.lines[-1] == "x" * (63 - width)
        await stage.press("g", "j", "j")
        assert stage.lines[0].startswith("01 ")
        await stage.pilot.resize_terminal(25, HEIGHT)
        await stage.until(lambda: len(stage.lines[0]) == stage.view.scrollable_content_region.width)
        assert stage.lines[0].startswith("01 ")
        await stage.press("w")
        assert stage.lines[0].startswith("01 ")
        assert stage.lines[1].startswith("02 ")


async def test_long_lines_scroll_sideways() -> None:
    async with staged() as stage:
        await stage.append("0123456789" * 8)
        await stage.press("right", "right")
        assert stage.lines[0].startswith("2345")


async def test_timestamps() -> None:
    moment = datetime(2026, 1, 5, 10, 11, 12, 345678, tzinfo=UTC)
    async with staged() as stage:
        await stage.append(LogLine(text=b"timed", time=moment), "untimed")
        assert stage.lines[0] == "timed"
        await stage.press("T")
        assert stage.lines[0] == f"{moment.astimezone():%H:%M:%S}.345 timed"
        assert stage.lines[1] == " " * 13 + "untimed"


async def test_streams_and_colours_differ() -> None:
    async with staged() as stage:
        await stage.append(
            LogLine(text=b"out", stream="stdout"),
            LogLine(text=b"err", stream="stderr"),
            "\x1b[32mgreen\x1b[0m",
        )
        out, err, green = (next(iter(stage.view.render_line(y))).style.color for y in range(3))
        assert out != err
        assert green.number == 2


async def test_search_marks_and_moves() -> None:
    async with staged() as stage:
        await stage.append(*(f"line {n} {'needle' if n % 40 == 5 else ''}" for n in range(100)))
        await stage.press("slash", *"NEEDLE")
        assert stage.lines[-1] == "/NEEDLE"
        await stage.press("ctrl+u", *"needle", "x", "backspace", "enter")
        assert not stage.view.follow
        assert "line 5 needle" in stage.lines
        await stage.press("n")
        assert "line 45 needle" in stage.lines
        await stage.press("N", "N")
        assert "line 85 needle" in stage.lines
        y = stage.lines.index("line 85 needle")
        style = stage.view.get_component_rich_style("log-view--match-current")
        match = stage.view.render_line(y).crop(8, 14)
        assert all(part.style.bgcolor == style.bgcolor for part in match if part.style)
        await stage.press("slash", "escape")
        assert stage.lines[-1] != "/"
        plain = stage.view.render_line(y).crop(8, 14)
        assert all(part.style.bgcolor != style.bgcolor for part in plain if part.style)


async def test_search_for_what_is_not_there_harms_nothing() -> None:
    async with staged() as stage:
        await stage.press("n", "slash", "x", "enter", "n")
        await stage.append("a", "b")
        await stage.press("slash", "left_square_bracket", "enter")
        assert stage.lines[:2] == ["a", "b"]


async def test_copying_the_screen_and_a_selection() -> None:
    async with staged() as stage:
        await stage.append("\x1b[31mone\x1b[0m", "two", "三 three")
        await stage.press("y")
        assert stage.app.clipboard == "one\ntwo\n三 three"
        stage.app.screen.selections = {
            stage.view: Selection(Offset(1, 0), Offset(4, 2)),
        }
        assert stage.app.screen.get_selected_text() == "ne\ntwo\n三 t"
        await stage.press("y")
        assert stage.app.clipboard == "ne\ntwo\n三 t"
        marked = stage.view.render_line(1).crop(0, 3)
        style = stage.app.screen.get_component_rich_style("screen--selection")
        assert all(part.style.bgcolor == style.bgcolor for part in marked if part.style)


async def test_the_mouse_selects() -> None:
    async with staged() as stage:
        await stage.append("one", "two", "three")
        await stage.pilot.mouse_down(stage.view, (1, 0))
        await stage.pilot.hover(stage.view, (2, 2))
        await stage.pilot.mouse_up(stage.view, (2, 2))
        assert stage.app.screen.get_selected_text() in {"ne\ntwo\nth", "ne\ntwo\nthr"}


@pytest.mark.parametrize("wrapping", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        b"2026-01-05T10:11:12.123456 \x1b[32minfo\x1b[0m a log line with stuff in it, number %d",
        "日本語の長い行がたくさん流れてくる場合でも画面は止まらない %d".encode(),
    ],
)
async def test_a_flood_leaves_the_screen_its_turn(wrapping: bool, line: bytes) -> None:
    """20 MB/s for half a second, measured in CPU time of this thread.

    What a console has imported is frozen, as a collection over it costs more than all else.
    """
    async with staged() as stage:
        stage.view.wrapping = wrapping
        await stage.append("first")
        gc.collect()
        gc.freeze()
        longest, before = 0.0, time.thread_time()

        async def beat() -> None:
            nonlocal longest, before
            while True:
                await asyncio.sleep(0)
                now = time.thread_time()
                longest, before = max(longest, now - before), now

        beating = asyncio.create_task(beat())
        batch = [LogLine(text=line % n) for n in range(1000)]
        size = sum(len(one.text) for one in batch)
        repeats = 10_000_000 // size
        try:
            for _ in range(repeats):
                stage.view.append(batch)
                await asyncio.sleep(size / 20e6)
        finally:
            beating.cancel()
            gc.unfreeze()
        view = stage.view
        await stage.until(lambda: view.dropped + view.line_count == repeats * len(batch) + 1)
        assert longest < 0.05


async def test_lines_that_have_gone_by_do_not_wait_for_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full collection would hold up the keys, the longer the more is left to it."""
    monkeypatch.setattr(Strip, "__init__", strips._begin)
    async with staged() as stage:
        await stage.append(*(f"before {n}" for n in range(100)))
        gc.collect()
        gc.disable()
        try:
            for n in range(20):
                await stage.append(*(f"line {n} {m}" for m in range(2 * HEIGHT)))
                assert stage.lines[-1] == f"line {n} {2 * HEIGHT - 1}"
            left = gc.collect()
        finally:
            gc.enable()
        assert left < 20 * HEIGHT  # a cycle for each line that was shown is a dozen objects


async def test_pictures_of_a_log_need_no_new_styles() -> None:
    """Rich keeps 16,384 of them, and a full collection looks at each."""
    async with staged() as stage:
        await stage.append("one", "two")
        painted = stage.view.render_lines(Region(0, 0, WIDTH, HEIGHT))
        assert {segment.style.meta.get("offset") for line in painted for segment in line} == {None}
        asked = stage.view.render_line(1)
        assert next(iter(asked)).style.meta["offset"][1] == 1
