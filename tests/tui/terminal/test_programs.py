"""Real programs on a real pseudo-terminal; and the emulator against tmux, byte for byte."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.tui.terminal.pty_attachment import PtyAttachment
from tests.tui.terminal.screens import shown
from vctui.drivers.shims.base import Output
from vctui.tui.terminal import keys
from vctui.tui.terminal.emulator import Emulator
from vctui.tui.terminal.session import TerminalSession

BUSYBOX = shutil.which("busybox")
TMUX = shutil.which("tmux")
ROWS, COLUMNS = 20, 70

pytestmark = pytest.mark.skipif(BUSYBOX is None, reason="needs busybox: apt install busybox-static")


class Recorded(PtyAttachment):
    """Keeps what the program wrote."""

    def __init__(self, *argv: str, cwd: Path | None = None) -> None:
        super().__init__(argv, rows=ROWS, columns=COLUMNS, cwd=cwd)
        self.output = b""

    async def __aiter__(self) -> AsyncIterator[Output]:
        async for output in super().__aiter__():
            self.output += output.data
            yield output


class Terminal:
    def __init__(self, process: Recorded, session: TerminalSession) -> None:
        self.process = process
        self.session = session

    @property
    def lines(self) -> list[str]:
        return shown(self.session.emulator)

    @property
    def cursor(self) -> tuple[int, int]:
        return self.session.emulator.screen.cursor

    def press(self, *names: str) -> None:
        for name in names:
            character = name if len(name) == 1 else None
            self.session.type(keys.encode_key(name, character, self.session.emulator.modes))

    def type(self, text: str) -> None:
        self.session.type(text.encode())

    async def until(self, condition: Callable[[list[str]], object]) -> None:
        """Wait until the screen fulfils `condition`."""
        changed = asyncio.Event()
        self.session.on_change = changed.set
        try:
            async with asyncio.timeout(20):
                while not condition(self.lines):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            raise AssertionError("\n".join(self.lines)) from None


@asynccontextmanager
async def running(*argv: str, cwd: Path | None = None) -> AsyncIterator[Terminal]:
    process = Recorded(*argv, cwd=cwd)
    session = TerminalSession(process, rows=ROWS, columns=COLUMNS)
    session.start()
    try:
        yield Terminal(process, session)
    finally:
        await process.detach()
        await session.detach()


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("".join(f"line {n}, with a\ttab and ümläüts\n" for n in range(1, 101)))
    return path


def shell(script: str = "") -> tuple[str, ...]:
    assert BUSYBOX
    return (BUSYBOX, "sh", *(("-c", script) if script else ()))


async def edit(terminal: Terminal, path: Path) -> None:
    await terminal.until(lambda lines: lines[0].startswith("line 1,"))
    terminal.press("down", "down", "i")
    terminal.type("inserted ")
    terminal.press("escape")
    await terminal.until(lambda lines: lines[2].startswith("inserted line 3"))
    terminal.press("pagedown")
    await terminal.until(lambda lines: not lines[0].startswith("line 1,"))
    terminal.type("1Gdd")
    await terminal.until(lambda lines: lines[0].startswith("line 2,"))
    terminal.type(":w\r")
    await terminal.until(lambda lines: "written" in lines[-1] or re.search(r"\d+L", lines[-1]))
    saved = await asyncio.to_thread(path.read_text)
    assert saved.splitlines()[1].startswith("inserted line 3")


async def test_vi(text_file: Path) -> None:
    assert BUSYBOX
    async with running(BUSYBOX, "vi", text_file.name, cwd=text_file.parent) as terminal:
        await edit(terminal, text_file)
        terminal.type(":q\r")
        await terminal.session.wait()
        assert terminal.session.exit_code == 0


@pytest.mark.skipif(not shutil.which("vim"), reason="needs vim: apt install vim")
async def test_vim(text_file: Path) -> None:
    async with running(
        "vim", "-u", "NONE", "-N", "--cmd", "set mouse=a", str(text_file)
    ) as terminal:
        await edit(terminal, text_file)
        assert terminal.session.emulator.screen.alternate
        assert terminal.session.emulator.modes.mouse_sgr
        terminal.type(":q\r")
        await terminal.session.wait()
        assert not terminal.session.emulator.screen.alternate


async def test_less(text_file: Path) -> None:
    assert BUSYBOX
    async with running(BUSYBOX, "less", str(text_file)) as terminal:
        await terminal.until(lambda lines: lines[18].startswith("line 19"))
        terminal.press("space")
        await terminal.until(lambda lines: lines[0].startswith("line 20"))
        terminal.type("/line 77\r")
        await terminal.until(lambda lines: lines[0].startswith("line 77"))
        terminal.press("q")
        await terminal.session.wait()


async def test_top() -> None:
    assert BUSYBOX
    async with running(BUSYBOX, "top", "-d", "1") as terminal:
        await terminal.until(lambda lines: lines[0].startswith("Mem:") and "PID" in lines[3])
        assert re.match(r" *\d+ +\d+ ", terminal.lines[4])
        terminal.press("q")
        await terminal.session.wait()


async def test_a_shell_its_interrupt_and_its_size() -> None:
    async with running(*shell()) as terminal:
        terminal.type("echo $((6 * 7))\r")
        await terminal.until(lambda lines: "42" in lines)
        terminal.type("sleep 1000\r")
        await terminal.until(lambda lines: any(line.endswith("sleep 1000") for line in lines))
        terminal.press("ctrl+c")
        terminal.type("echo status $?\r")
        await terminal.until(lambda lines: "status 130" in lines)
        terminal.session.resize(30, 100)
        terminal.type("stty size\r")
        await terminal.until(lambda lines: "30 100" in lines)
        terminal.type("exit 5\r")
        await terminal.session.wait()
        assert terminal.session.status == "exited 5"


@pytest.mark.skipif(TMUX is None, reason="needs tmux to compare with: apt install tmux")
@pytest.mark.parametrize(
    "stream",
    [
        "a\tb\n\x1b[31mred\x1b[m\n" + "0123456789" * 9,
        "".join(f"line {n}\n" for n in range(60)) + "\x1b[5;10r\x1b[10;1Hx\n\ny\n",
        "\x1b[2J\x1b[5;5Habcdef\x1b[5;7H\x1b[2@\x1b[3P\x1b[4hXY\x1b[4l\x1b[K\x1b[1;1H\x1b[2L",
        "日本語e\u0301!\b\b\n日本語\x1b[2DX\n" + "日" * 40,
        "\x1b7\x1b[10;10Hthere\x1b8here\x1b[?1049hgone\x1b[?1049l back\x1bM\x1bMup",
        "\x1b[?7l" + "0" * 80 + "|\x1b[?7h\n" + "0" * 75 + "|",
        "\x1b[3;6r\x1b[?6h\x1b[1;1Htop\x1b[4;1Hbottom\n\n\x1b[?6l\x1b[r\x1b[20;70HZ",
        "abc\x1b[5b\x1b[3X\x1b[1;1H\t\tx\x1b[Z\x1b[Zy\x1b[3g\tz",
        "\x1b[20;1Hlast\x1b[1;1H\x1b[3Mfirst\x1b[S\x1b[2T\x1b[10;1Hx\x1b[1J",
    ],
)
def test_the_same_screen_as_tmux(stream: str, tmp_path: Path) -> None:
    compare(stream.replace("\n", "\r\n").encode(), tmp_path)


@pytest.mark.skipif(TMUX is None, reason="needs tmux to compare with: apt install tmux")
async def test_the_same_screen_as_tmux_after_vi(text_file: Path, tmp_path: Path) -> None:
    assert BUSYBOX
    async with running(BUSYBOX, "vi", text_file.name, cwd=text_file.parent) as terminal:
        await edit(terminal, text_file)
        output = terminal.process.output
    await asyncio.to_thread(compare, output, tmp_path)


def compare(stream: bytes, tmp_path: Path) -> None:
    """The text on the screen, and the place of the cursor."""
    assert TMUX
    assert BUSYBOX
    emulator = Emulator(ROWS, COLUMNS)
    emulator.feed(stream)
    expected = (shown(emulator), (emulator.screen.y, emulator.screen.x))
    (tmp_path / "stream").write_bytes(stream)
    run = f"stty raw -echo; cat {tmp_path / 'stream'}; sleep 60"
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TMUX_TMPDIR": str(tmp_path)}

    def tmux(*arguments: str) -> str:
        return subprocess.run(
            [TMUX, "-u", "-L", "compare", "-f", str(tmp_path / "conf"), *arguments],
            capture_output=True, check=True, text=True, env=environment,
        ).stdout  # fmt: skip

    (tmp_path / "conf").write_text("set -g status off\n")
    size = ("-x", str(COLUMNS), "-y", str(ROWS))
    tmux("new-session", "-d", *size, f"{BUSYBOX} sh -c '{run}'")
    try:
        deadline = time.monotonic() + 10
        while (state := _state(tmux)) != expected and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        tmux("kill-server")
    assert state == expected


def _state(tmux: Callable[..., str]) -> tuple[list[str], tuple[int, int]]:
    text = tmux("capture-pane", "-p")
    y, x = tmux("display-message", "-p", "#{cursor_y} #{cursor_x}").split()
    lines = [line.rstrip() for line in text.split("\n")[:ROWS]]
    return lines + [""] * (ROWS - len(lines)), (int(y), int(x))
