"""The terminal as an operator sees it and types into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.app import ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.terminal.scripted import ScriptedAttachment
from vctui.tui.terminal.capture import KeyCapture
from vctui.tui.terminal.session import TerminalSession
from vctui.tui.terminal.view import TerminalView


class Console(KeyCapture[None]):
    """An application with bindings of all sorts round a terminal."""

    CSS = "TerminalView { border: round; } Input { height: 3; }"
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("ctrl+c", "note('ctrl+c')", priority=True),
        Binding("x", "note('x')"),
    ]

    def __init__(self, process: ScriptedAttachment) -> None:
        super().__init__()
        self.session = TerminalSession(process, title="sh [1]", detach_keys="ctrl-p,ctrl-q")
        self.noted: list[str] = []
        self.closed: list[str] = []
        self.rung = 0

    def compose(self) -> ComposeResult:
        yield TerminalView(self.session)
        yield Input()

    def action_note(self, what: str) -> None:
        self.noted.append(what)

    def on_terminal_view_closed(self, message: TerminalView.Closed) -> None:
        self.closed.append(message.session.status)

    def bell(self) -> None:
        self.rung += 1


class Stage:
    def __init__(self, app: Console, process: ScriptedAttachment, pilot: Pilot[None]) -> None:
        self.app = app
        self.process = process
        self.pilot = pilot
        self.view = app.query_one(TerminalView)

    @property
    def lines(self) -> list[str]:
        """What the widget paints, within its border."""
        height = self.view.content_size.height
        return [self.view.render_line(y).text.rstrip() for y in range(height)]

    async def say(self, data: str, *, until: str) -> None:
        """Write to the screen and wait until `until` is painted."""
        await self.process.say(data.encode())
        await self.wait(lambda: until in "\n".join(self.lines))

    async def wait(self, condition) -> None:  # type: ignore[no-untyped-def]
        async with asyncio.timeout(10):
            while not condition():
                await self.pilot.pause(0.01)

    async def typed(self, data: bytes) -> None:
        await self.process.until(lambda: self.process.written == data)
        self.process.written.clear()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    process = ScriptedAttachment()
    app = Console(process)
    async with app.run_test(size=(44, 15)) as pilot:
        stage = Stage(app, process, pilot)
        stage.view.focus()
        await pilot.pause()
        yield stage
        await app.session.detach()


async def test_output_colours_and_cursor_are_painted() -> None:
    async with staged() as stage:
        await stage.say("\x1b[1;31mred\x1b[0m plain", until="red plain")
        strip = stage.view.render_line(0)
        segments = {segment.text.strip(): segment.style for segment in strip if segment.style}
        assert segments["red"].bold
        assert segments["red"].color.number == 1
        assert not segments["plain"].bold
        cursor = strip.crop(9, 10)
        assert [segment.style.reverse for segment in cursor if segment.style] == [True]
        assert strip.cell_length == 42


async def test_the_process_is_told_the_size_of_the_widget() -> None:
    async with staged() as stage:
        await stage.process.until(lambda: stage.process.sizes == [(10, 42)])
        await stage.pilot.resize_terminal(60, 20)
        await stage.process.until(lambda: stage.process.sizes[-1] == (15, 58))


async def test_every_key_goes_to_the_process() -> None:
    async with staged() as stage:
        await stage.pilot.press("x", "ctrl+c", "tab", "escape", "ctrl+q", "f1", "up", "shift+tab")
        await stage.typed(b"x\x03\t\x1b\x11\x1bOP\x1b[A\x1b[Z")
        assert stage.app.noted == []
        assert stage.view.has_focus
        assert len(stage.app.screen_stack) == 1
        await stage.pilot.press("ctrl+p", "a")
        await stage.typed(b"\x10a")


async def test_other_widgets_keep_the_bindings() -> None:
    async with staged() as stage:
        stage.app.query_one(Input).focus()
        await stage.pilot.press("ctrl+c")
        assert stage.app.noted == ["ctrl+c"]


async def test_detach_keys_leave_and_give_the_keys_back() -> None:
    async with staged() as stage:
        await stage.pilot.press("ctrl+p", "ctrl+q")
        await stage.wait(lambda: stage.app.closed == ["detached"])
        await stage.pilot.press("x", "ctrl+c")
        assert stage.app.noted == ["x", "ctrl+c"]
        assert stage.process.written == b""


async def test_the_border_tells_the_state() -> None:
    async with staged() as stage:
        await stage.say("hello", until="hello")
        screen = stage.app.export_screenshot()
        assert "sh&#160;[1]" in screen
        assert "ctrl-p&#160;ctrl-q" in screen
        await stage.process.end(3)
        await stage.wait(lambda: stage.app.closed == ["exited 3"])
        assert stage.view.border_subtitle == "exited 3"
        assert stage.lines[0] == "hello"


async def test_history_is_seen_with_keys_and_wheel() -> None:
    async with staged() as stage:
        await stage.say("".join(f"line {n}\r\n" for n in range(40)) + "end", until="end")
        await stage.pilot.press("shift+pageup")
        assert stage.lines[0] == "line 22"
        await stage.say("\r\nmore\r\n" * 5, until="line 22")
        assert stage.lines[0] == "line 22"
        await stage.pilot.press("shift+home")
        assert stage.lines[0] == "line 0"
        await stage.pilot.press("shift+end")
        assert stage.lines[-2] == "more"
        await stage.pilot._post_mouse_events([_wheel("up")], TerminalView, (5, 5))
        assert stage.view.scrolled_back == 3
        await stage.pilot.press("a")
        assert stage.view.scrolled_back == 0
        await stage.typed(b"a")


def _wheel(way: str):  # type: ignore[no-untyped-def]
    from textual import events

    return events.MouseScrollUp if way == "up" else events.MouseScrollDown


async def test_the_mouse_marks_and_copies() -> None:
    async with staged() as stage:
        await stage.say("alpha beta gamma\r\nsecond line", until="second")
        view = stage.view
        await stage.pilot.mouse_down(view, (7, 1))
        await stage.pilot.hover(view, (6, 2))
        await stage.pilot.mouse_up(view, (6, 2))
        assert stage.app.clipboard == "beta gamma\nsecond"
        await stage.pilot.click(view, (8, 1), times=2)
        assert stage.app.clipboard == "beta"
        await stage.pilot.click(view, (8, 2), times=3)
        assert stage.app.clipboard == "second line"
        marked = view.render_line(1).crop(0, 3)
        style = view.get_component_rich_style("terminal-view--selection")
        assert all(segment.style.bgcolor == style.bgcolor for segment in marked if segment.style)


async def test_wrapped_lines_are_copied_as_one() -> None:
    async with staged() as stage:
        await stage.say("w" * 50 + "\r\nnext", until="next")
        await stage.pilot.mouse_down(stage.view, (1, 1))
        await stage.pilot.hover(stage.view, (4, 3))
        await stage.pilot.mouse_up(stage.view, (4, 3))
        assert stage.app.clipboard == "w" * 50 + "\nnext"


async def test_a_program_that_wants_the_mouse_gets_it() -> None:
    async with staged() as stage:
        await stage.say("\x1b[?1000h\x1b[?1006hmouse", until="mouse")
        await stage.pilot.click(stage.view, (3, 2))
        await stage.typed(b"\x1b[<0;3;2M\x1b[<0;3;2m")
        await stage.say("\x1b[?1000l\x1b[?1049h\x1b[Hpager", until="pager")
        await stage.pilot._post_mouse_events([_wheel("down")], TerminalView, (5, 5))
        await stage.typed(b"\x1b[B" * 3)


@pytest.mark.parametrize(
    ("mode", "data"), [("", b"a\rb"), ("\x1b[?2004h", b"\x1b[200~a\rb\x1b[201~")]
)
async def test_pastes(mode: str, data: bytes) -> None:
    from textual import events

    async with staged() as stage:
        await stage.say(mode + "ready", until="ready")
        stage.app.post_message(events.Paste("a\nb"))
        await stage.typed(data)


async def test_focus_is_told_to_a_program_that_asks() -> None:
    async with staged() as stage:
        await stage.say("\x1b[?1004hready", until="ready")
        stage.app.query_one(Input).focus()
        await stage.typed(b"\x1b[O")
        stage.view.focus()
        await stage.typed(b"\x1b[I")


async def test_bells_ring_once_in_a_while() -> None:
    async with staged() as stage:
        await stage.say("\a" * 100 + "rung", until="rung")
        await stage.wait(lambda: stage.app.rung == 1)


async def test_reverse_video_repaints_everything() -> None:
    async with staged() as stage:
        await stage.say("\x1b[?5hx", until="x")
        assert all(segment.style.reverse for segment in stage.view.render_line(3) if segment.style)


async def test_a_session_outlives_its_view() -> None:
    async with staged() as stage:
        await stage.say("before", until="before")
        await stage.view.remove()
        await stage.process.say(b" after")
        view = TerminalView(stage.app.session)
        await stage.app.mount(view, before=0)
        stage.view = view
        await stage.wait(lambda: stage.lines[:1] == ["before after"])
