"""Screens of ours: laid out once when they open, the same picture as Textual's."""

from __future__ import annotations

import pytest
from textual._compositor import Compositor
from textual.geometry import Region
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from tests.tui.conftest import Console, OpenConsole
from vctui.model.state import State
from vctui.tui.screens import sheet
from vctui.tui.screens.dimmed import Dimmed
from vctui.tui.screens.help import Help

SIZES = [(80, 24), (160, 45)]


def fleet() -> FakeRuntime:
    pods = [make_pod("web", State.RUNNING, ["nginx"]), make_pod("batch", State.PAUSED)]
    return FakeRuntime(pods)


def cells(strips: list[Strip]) -> list[list[tuple[str, object]]]:
    """Each cell with its style, however the lines are cut into segments."""
    return [
        [(char, segment.style) for segment in strip for char in segment.text] for strip in strips
    ]


async def opened(console: Console, *keys: str) -> Screen[object]:
    await console.press(*keys)
    await console.until(lambda: console.app.screen is not console.main, "a dialog")
    await console.pilot.pause()
    return console.app.screen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "keys", [[], ["question_mark"], ["z"], ["o"], ["colon"], ["slash"], ["colon", "s", "t"]]
)
async def test_a_picture_is_the_same_as_textual_makes(
    open_console: OpenConsole, size: tuple[int, int], keys: list[str]
) -> None:
    async with open_console(fleet(), size=size) as console:
        await console.press(*keys)
        await console.pilot.pause()
        ours = console.app.screen._compositor
        whole = (ours.size.region, lambda _: True)
        part = (Region(3, 2, 40, 9), {3, 4, 7}.__contains__)
        for crop, wanted in (whole, part):
            lines = [y for y in crop.line_range if wanted(y)]
            painted = ours._render_chops(crop, wanted)
            expected = Compositor._render_chops(ours, crop, wanted)
            for y in lines:
                edges = [x for x in painted[y] if crop.x <= x < crop.right]
                assert cells([painted[y][x] for x in edges]) == cells(
                    [expected[y][x] for x in edges]
                ), y


async def test_what_is_covered_is_not_asked_for_its_lines(
    open_console: OpenConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Widget] = []
    render_lines = Widget.render_lines

    def watched(self: Widget, crop: Region) -> list[Strip]:
        asked.append(self)
        return render_lines(self, crop)

    async with open_console(fleet()) as console:
        await console.pilot.pause()
        monkeypatch.setattr(Widget, "render_lines", watched)
        console.main._compositor.render_strips()
        assert console.main.header in asked
        assert console.main.query_one("#body") not in asked
        assert console.main not in asked


@pytest.mark.parametrize("size", SIZES)
async def test_what_lies_below_a_dialog_is_dimmed_as_by_textual(
    open_console: OpenConsole, size: tuple[int, int]
) -> None:
    async with open_console(fleet(), size=size) as console:
        dialog = await opened(console, "question_mark")
        tint = dialog.styles.background
        assert 0 < tint.a < 1
        ours = Dimmed(console.main, tint).render_strips(*size, None, None)  # type: ignore[arg-type]
        below = console.main._compositor.render_strips()
        theirs = [Strip(BackgroundScreen.process_segments(list(strip), tint)) for strip in below]
        assert cells(ours) == cells(theirs)
        assert all(strip.cell_length == size[0] for strip in ours)


@pytest.mark.parametrize("size", SIZES)
async def test_a_dialog_is_laid_out_for_its_size_at_once_and_alone(
    open_console: OpenConsole, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    layouts: list[tuple[Screen[object], frozenset[str]]] = []
    refresh_layout = Screen._refresh_layout

    def counted(self: Screen[object], *args: object, **how: object) -> None:
        layouts.append((self, self.classes))
        refresh_layout(self, *args, **how)  # type: ignore[arg-type]

    async with open_console(fleet(), size=size) as console:
        await console.pilot.pause()
        monkeypatch.setattr(Screen, "_refresh_layout", counted)
        dialog = Help(console.app.keymap, "")
        console.app.push_screen(dialog)
        await console.sees("Choose a pod file")
        await console.pilot.pause()
        classes = {"narrow", "medium"} if size[0] < 90 else {"roomy", "tall"}
        assert {each for each, _ in layouts} == {dialog}
        assert all(found >= classes for _, found in layouts)


async def test_what_lies_below_a_dialog_is_painted_with_it(
    open_console: OpenConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "GLANCE", 0.05)
    async with open_console(fleet()) as console:
        dialog = await opened(console, "question_mark")
        assert not console.main.is_current
        painted: list[object] = []
        render = type(dialog).render

        def watched(self: Screen[object]) -> object:
            painted.append(self)
            return render(self)

        monkeypatch.setattr(type(dialog), "render", watched)
        console.runtime.pods["web"] = make_pod("new", State.READY)
        await console.until(lambda: len(painted) > 1, "a second picture")
        await console.press("escape")
        await console.until(lambda: console.main.is_current)


async def test_a_dialog_follows_a_change_of_size(open_console: OpenConsole) -> None:
    async with open_console(fleet(), size=(160, 45)) as console:
        dialog = await opened(console, "question_mark")
        await console.pilot.resize_terminal(80, 24)
        await console.until(lambda: dialog.has_class("narrow") and dialog.has_class("medium"))
        await console.until(lambda: dialog._compositor.size.width == 80)
        await console.press("escape")
        await console.until(lambda: console.main.has_class("compact"))


async def test_help_that_is_closed_before_it_is_painted_writes_nothing(
    open_console: OpenConsole,
) -> None:
    async with open_console(fleet()) as console:
        dialog = await opened(console, "question_mark")
        assert isinstance(dialog, Help)
        await console.press("escape")
        await console.until(lambda: not dialog.is_attached)
        dialog._write()


async def test_another_theme_reaches_what_is_seen_and_what_lies_below(
    open_console: OpenConsole,
) -> None:
    async with open_console(fleet()) as console:
        before = console.main.pods.get_component_rich_style("table--header")
        role = console.main.pods._role_style("state-running")
        dialog = await opened(console, "question_mark")
        frame = dialog.query_one(".dialog").styles.background
        others = [name for name in console.app._titles if name != console.app.theme]
        console.app.theme = next(
            name
            for name in others
            if console.app.get_theme(name).background != console.app.current_theme.background
        )
        await console.until(lambda: dialog.query_one(".dialog").styles.background != frame)
        pods = console.main.pods
        await console.until(lambda: pods.get_component_rich_style("table--header") != before)
        assert pods._role_style("state-running") != role
