"""The main screen over a fake engine: what is seen, and what keys and mouse do."""

from __future__ import annotations

import pytest
from textual import events

from tests.fakes.fake_runtime import BORN, FakeRuntime, make_container, make_pod
from tests.tui.conftest import OpenConsole
from vctui.errors import WrongState
from vctui.model.events import EventKind
from vctui.model.state import State
from vctui.model.timeline import Step, Timeline, Where
from vctui.settings import Console as ConsoleSettings
from vctui.tui.actions import Pane
from vctui.tui.widgets.bars import FooterBar
from vctui.tui.widgets.tabs import TABS, TabStrip

SIZES = [(80, 24), (120, 40), (200, 60)]


def fleet() -> FakeRuntime:
    return FakeRuntime(
        [
            make_pod("web", State.RUNNING, ["nginx", "sidecar"]),
            make_pod("batch", State.PAUSED),
            make_pod("db", State.READY),
            make_pod("old", State.STOPPED, reason="the machine died"),
        ]
    )


@pytest.mark.parametrize("size", SIZES)
async def test_everything_has_its_place_at_every_size(
    open_console: OpenConsole, size: tuple[int, int]
) -> None:
    async with open_console(fleet(), size=size) as console:
        await console.sees("sleep 1")
        for words in ("Pods 4", "Containers 2", "Processes 2", "● running", "◐ paused",
                      "○ ready", "✗ stopped", "1 Console", "5 Details", "q quit"):  # fmt: skip
            assert words in console.text, words
        rows = console.text.split("\n")
        assert len(rows) == size[1]
        for pane in ("#pods", "#containers", "#processes", "#detail"):
            region = console.main.query_one(pane).region
            assert console.main.region.contains_region(region)
            assert region.height >= 7


async def test_the_screen_follows_a_change_of_size(open_console: OpenConsole) -> None:
    async with open_console(fleet(), size=(80, 24)) as console:
        assert console.main.has_class("compact")
        await console.pilot.resize_terminal(200, 60)
        await console.until(lambda: console.main.has_class("wide"))
        await console.sees("ACCEL")


@pytest.mark.parametrize(
    ("pod_id", "offered"),
    [
        ("web", {"stop", "pause", "restart", "delete", "shell", "exec", "attach", "kill"}),
        ("batch", {"stop", "resume", "restart", "delete"}),
        ("db", {"start", "delete"}),
        ("old", {"start", "restart", "delete"}),
    ],
)
async def test_the_footer_offers_what_the_state_allows(
    open_console: OpenConsole, pod_id: str, offered: set[str]
) -> None:
    verbs = {"start", "stop", "pause", "resume", "restart", "delete", "shell", "exec", "attach",
             "kill"}  # fmt: skip
    async with open_console(fleet(), size=(200, 60)) as console:
        await console.select(pod_id)
        assert console.footer & verbs == offered


async def test_what_another_terminal_does_shows_up(open_console: OpenConsole) -> None:
    runtime = fleet()
    async with open_console(runtime) as console:
        runtime.set_pod(make_pod("fresh"))
        await console.sees("fresh")
        runtime.update("fresh", operation="stop")
        await console.sees("◌ stopping")
        runtime.set_pod(None, "fresh")
        await console.until(lambda: "fresh" not in console.text)
        runtime.set_pod(make_pod("web", State.STOPPED, ["nginx", "sidecar"]))
        await console.until(lambda: "pause" not in console.footer)


async def test_no_pods_says_what_to_press(open_console: OpenConsole) -> None:
    async with open_console(FakeRuntime()) as console:
        await console.sees("Press R to run one from a pod file.")
        assert "press B to build" in console.text
        assert "stop" not in console.footer


async def test_panes_are_walked_with_tab_and_arrows(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.sees("agent ready")
        seen = []
        for key in ("tab", "right", "tab", "tab", "shift+tab", "left"):
            await console.press(key)
            focused = console.app.focused
            assert focused is not None
            seen.append(focused.id)
        assert seen == ["containers", "processes", "console", "pods", "console", "processes"]
        assert console.main.context.pane is Pane.PROCESSES


async def test_keys_typed_quickly_find_the_pane_they_are_meant_for(
    open_console: OpenConsole,
) -> None:
    async with open_console(fleet()) as console:
        await console.sees("sleep 1")
        for key in ("tab", "tab", "down"):  # all before any of them is handled
            console.app.post_message(events.Key(key, None))
        await console.until(lambda: console.main.processes.cursor_row == 1)
        assert console.main.context.pane is Pane.PROCESSES


async def test_the_selection_narrows_down(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.sees("nginx")
        await console.press("down")
        await console.sees("The machine is paused.")
        assert "nginx" not in console.text
        await console.press("up", "enter", "down")
        assert console.main.context.container is not None
        assert console.main.context.container.id == "sidecar"


async def test_processes_are_asked_for_only_where_they_are_seen(
    open_console: OpenConsole,
) -> None:
    runtime = fleet()
    async with open_console(runtime) as console:
        await console.sees("sleep 1")
        assert console.app.gateway._watched == ("web", "nginx")
        await console.press("z")
        await console.until(lambda: console.app.gateway._watched is None)
        await console.press("z")
        await console.until(lambda: console.app.gateway._watched == ("web", "nginx"))
        await console.press("question_mark")
        await console.until(lambda: console.app.gateway._watched is None)
        await console.press("escape")
        await console.until(lambda: console.app.gateway._watched == ("web", "nginx"))
        await console.select("db")
        await console.until(lambda: console.app.gateway._watched is None)


@pytest.mark.parametrize("size", SIZES)
async def test_a_zoomed_pane_has_the_whole_body(
    open_console: OpenConsole, size: tuple[int, int]
) -> None:
    async with open_console(fleet(), size=size) as console:
        await console.press("z")
        await console.pilot.pause()
        assert console.main.pods.region.width == size[0]
        assert "Containers" not in console.text
        await console.press("z", "5")
        console.main.detail.inner.focus()
        await console.press("z")
        await console.pilot.pause()
        assert console.main.detail.region.width == size[0]
        assert "Pods" not in console.text.split("\n")[1]
        await console.press("escape")
        await console.sees("Containers")


async def test_a_filter_is_typed_and_taken_back(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("slash", *"b")
        await console.sees("Pods 3/4")
        await console.press("a", "enter")
        await console.sees("Pods 1/4")
        assert console.app.focused is console.main.pods
        await console.press("escape")
        await console.sees("Pods 4")
        await console.press("slash", *"zzz", "enter")
        await console.sees("Nothing matches the filter.")


async def test_the_filter_takes_no_line_from_what_it_filters(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        heights = {console.main.pods.size.height}
        await console.press("slash", *"b")
        await console.sees("Pods 3/4")
        heights.add(console.main.pods.size.height)
        await console.press("enter")
        await console.until(lambda: console.main.status.is_on_screen)
        heights.add(console.main.pods.size.height)
        assert len(heights) == 1


async def test_the_footer_tells_the_keys_of_what_is_typed(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("slash")
        await console.until(lambda: console.footer == {"keep the filter", "show everything"})
        await console.press("escape", "l")
        await console.until(lambda: "follow" in console.footer)
        await console.press("slash")
        await console.until(lambda: console.footer == {"find", "leave the search"})
        await console.press("escape")
        await console.until(lambda: "follow" in console.footer)


async def test_the_keys_of_a_log_can_be_changed(open_console: OpenConsole) -> None:
    keys = {"log.follow": "w", "log.wrap": "x,f7", "log.timestamps": ""}
    async with open_console(fleet(), keys=keys) as console:
        await console.press("l")
        await console.until(lambda: "follow" in console.footer)
        assert "timestamps" not in console.footer
        view = console.main.detail._log_tabs["log"].view
        await console.press("w", "f7", "T", "f")
        await console.until(lambda: view.wrapping)
        assert (view.follow, view.timestamps) == (False, False)
        await console.press("x")
        await console.until(lambda: not view.wrapping)


async def test_the_edge_of_a_log_tells_its_mode(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("l")
        await console.sees(" following ")
        await console.press("w", "f")
        await console.sees(" not following · wrapped ")
        await console.press("slash", *"[x", "enter")
        await console.sees(" not following · wrapped · /[x ")
        await console.press("5")
        await console.until(lambda: not console.main.detail.border_subtitle)


async def test_a_console_that_cannot_be_opened_says_why(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.fail("console", WrongState("the console of pod 'web' is not there"))
    async with open_console(runtime) as console:
        await console.sees("the console of pod 'web' is not there")


async def test_the_list_is_sorted_by_a_column(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("o", "down", "enter")
        await console.until(lambda: console.main.pods.sort_column == "name")
        assert [pod.id for pod in console.main.pods.rows] == ["batch", "db", "old", "web"]
        await console.press("o", "enter")
        await console.until(lambda: console.main.pods.sort_reverse)


@pytest.mark.parametrize(("number", "tab"), list(enumerate([tab for tab, _ in TABS], 1)))
async def test_digits_open_the_tabs(open_console: OpenConsole, number: int, tab: str) -> None:
    async with open_console(fleet()) as console:
        await console.press(str(number))
        assert console.main.detail.active == tab
        assert console.app.focused is console.main.pods


async def test_each_tab_shows_the_selection(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.emit(EventKind.POD_STARTED, "web", "the machine was booted in 2.1 s")
    async with open_console(runtime) as console:
        await console.sees("web: agent ready")
        await console.press("2")
        await console.sees("agent log of web/")
        await console.press("3")
        await console.sees("container log of web/nginx")
        await console.press("4")
        await console.sees("the machine was booted in 2.1 s")
        await console.press("5")
        await console.sees("TCG (software emulation)")
        await console.press("3")
        console.main.containers.select("sidecar")
        await console.sees("container log of web/sidecar")
        await console.press("1")
        await console.select("old")
        await console.sees("console log of old/")


async def test_the_mouse_chooses_tabs_and_keys(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.pilot.click(TabStrip, offset=(46, 0))
        await console.until(lambda: console.main.detail.active == "details")
        await console.pilot.click("#pods", offset=(4, 3))
        await console.until(lambda: console.main.context.pod.id == "batch")  # type: ignore[union-attr]
        await console.sees("resume")  # the keys follow the cursor a little later
        at = console.text.split("\n")[-1].index("resume")
        await console.pilot.click(FooterBar, offset=(at, 0))
        await console.until(lambda: console.runtime.called("resume_pod") == [("batch",)])


async def test_the_timeline_shows_where_a_start_took_its_time(open_console: OpenConsole) -> None:
    steps = (
        Step(name="run pod web", begin=0, took=4.2),
        Step(name="kernel", begin=1, took=2, where=Where.GUEST),
    )
    runtime = fleet()
    runtime.timelines["web"] = Timeline(
        pod_id="web", operation="run", began=BORN, took=4.2, steps=steps
    )
    async with open_console(runtime) as console:
        await console.select("web")
        await console.press("6")
        await console.sees("run pod web")
        await console.sees("  kernel     guest   2000 ms")
        await console.pilot.resize_terminal(84, 24)
        await console.sees("  kernel     guest   2000 ms")
        assert not any(line.strip(" │").startswith("█") for line in console.text.splitlines())
        await console.select("db")
        await console.sees("was not recorded")


async def test_a_key_that_is_not_possible_says_why(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.select("db")
        await console.press("S")
        await console.until(lambda: console.notices == ["Cannot stop: pod db is ready."])
        assert not console.runtime.called("stop_pod")


async def test_read_only_shows_everything_and_changes_nothing(open_console: OpenConsole) -> None:
    async with open_console(fleet(), read_only=True) as console:
        await console.sees("READ-ONLY")
        await console.sees("console log of web/")
        for key in ("S", "p", "r", "D", "s", "e", "a", "K", "R", "B", "c"):
            await console.press(key)
        await console.until(lambda: console.notices)
        assert set(console.notices) == {"Read-only: changes are switched off."}
        changing = {call[0] for call in console.runtime.calls}
        assert changing <= {"process_list_container", "logs"}
        assert console.app.screen is console.main


async def test_keys_of_the_configuration_are_used(open_console: OpenConsole) -> None:
    async with open_console(fleet(), keys={"pod.pause": "x", "app.help": ""}) as console:
        assert "x pause" in console.text
        await console.press("question_mark")
        assert console.app.screen is console.main
        await console.press("x")
        await console.until(lambda: console.runtime.called("pause_pod") == [("web",)])


async def test_an_error_stays_readable_in_the_events(open_console: OpenConsole) -> None:
    runtime = fleet()
    sentence = "pod 'web' cannot be paused: its machine does not answer; stop it"
    runtime.fail("pause_pod", WrongState(sentence))
    async with open_console(runtime) as console:
        await console.press("p")
        await console.until(lambda: console.notices == [sentence])
        await console.press("4")
        await console.sees("failed")
        assert console.text.count("its machine does not answer") >= 1
        rows = console.main.detail.table.rows  # type: ignore[union-attr]
        assert [event.message for event in rows].count(sentence) == 1


async def test_a_long_event_can_be_read_in_full(open_console: OpenConsole) -> None:
    runtime = fleet()
    words = " ".join(f"word{n}" for n in range(120))
    runtime.emit(EventKind.WARNING, "web", words)
    async with open_console(runtime, size=(80, 24)) as console:
        await console.press("4", "shift+tab")
        await console.sees("word0")
        assert "word119" not in console.text
        await console.press("enter")
        await console.sees("word119")
        await console.press("escape")
        assert console.app.screen is console.main


async def test_a_defect_does_not_end_the_console(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.fail("pause_pod", ZeroDivisionError("oh"))
    async with open_console(runtime) as console:
        await console.press("p")
        await console.until(lambda: console.notices)
        assert "ZeroDivisionError: oh" in console.notices[0]
        await console.press("5")
        await console.sees("Machine")


async def test_help_shows_every_key(open_console: OpenConsole) -> None:
    async with open_console(fleet(), size=(120, 60)) as console:
        await console.press("question_mark")
        await console.sees("container.kill")
        await console.press("escape")
        assert console.app.screen is console.main


async def test_the_theme_is_tried_while_choosing(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("t")
        await console.sees("High contrast")
        await console.press("up")
        await console.until(lambda: console.app.theme != "vctui-dark")
        await console.press("escape")
        await console.until(lambda: console.app.theme == "vctui-dark")


async def test_a_theme_that_is_left_at_once_is_not_tried(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("t")
        await console.sees("High contrast")
        dialog = console.app.screen
        await console.press("up", "escape")
        await console.until(lambda: console.app.screen is console.main)
        dialog._show("high-contrast")  # type: ignore[attr-defined]
        assert console.app.theme == "vctui-dark"


async def test_an_unknown_theme_is_a_warning(open_console: OpenConsole) -> None:
    async with open_console(fleet(), console=ConsoleSettings(theme="neon")) as console:
        await console.until(lambda: console.notices)
        assert "there is no theme 'neon'" in console.notices[0]
        assert console.app.theme == "vctui-dark"


async def test_the_palette_finds_pods_and_actions(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("colon")
        await console.pilot.pause(0.1)
        await console.press(*"batch")
        await console.sees("◐ paused")
        await console.press("enter", "enter")
        await console.until(lambda: console.main.context.pod.id == "batch")  # type: ignore[union-attr]


async def test_quitting_asks_only_while_something_is_under_way(
    open_console: OpenConsole,
) -> None:
    runtime = fleet()
    let_go = runtime.hold("pause_pod")
    async with open_console(runtime) as console:
        await console.press("p")
        await console.sees("pause web")
        await console.press("q")
        await console.sees("quitting undoes it")
        await console.press("n")
        let_go.set()
        await console.until(lambda: not console.app.commands.operations)
        await console.press("q")
        await console.until(lambda: console.app.return_code == 0)


async def test_what_a_guest_says_cannot_draw_on_the_screen(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.processes = b'[{"pid": 1, "args": "\\u001b[2J\\u001b[31m[bold]evil[/bold]"}]'
    evil = make_container("web", "nginx", args=("\x1b]0;owned\x07sh", "[red]x[/]"))
    runtime.update("web", containers_status=(evil,))
    async with open_console(runtime, size=(200, 60)) as console:
        await console.sees("[bold]evil[/bold]")
        await console.sees("[red]x[/]")
        assert "\x1b" not in console.text
        assert "owned" not in console.text
