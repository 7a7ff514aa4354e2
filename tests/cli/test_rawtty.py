"""Joining a process with terminals and pipes of the operator."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from tests.tui.terminal.scripted import ScriptedAttachment
from vctui.cli import rawtty
from vctui.cli.rawtty import Outcome
from vctui.errors import InvalidConfig, MonitorError
from vctui.present import detach

KEYS = "ctrl-p,ctrl-q"


@dataclass
class Pipes:
    """Ours are the other ends of the three descriptors that are given to `run`."""

    stdin: int
    stdout: int
    stderr: int
    typed: int
    shown: int
    complained: int


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    stdin, typed = os.pipe()
    shown, stdout = os.pipe()
    complained, stderr = os.pipe()
    all_of_them = Pipes(stdin, stdout, stderr, typed, shown, complained)
    yield all_of_them
    for descriptor in vars(all_of_them).values():
        with suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Operator's side and program's side of a terminal."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (30, 100))
    yield master, slave
    for descriptor in (master, slave):
        with suppress(OSError):
            os.close(descriptor)


@asynccontextmanager
async def on_pipes(
    process: ScriptedAttachment, pipes: Pipes, **options: object
) -> AsyncIterator[asyncio.Task[Outcome]]:
    descriptors = {"stdin": pipes.stdin, "stdout": pipes.stdout, "stderr": pipes.stderr}
    defaults = {"terminal": False, "interactive": True, "detach_keys": KEYS}
    task = asyncio.create_task(rawtty.run(process, **(defaults | descriptors | options)))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(20):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await asyncio.to_thread(os.read, descriptor, size - len(data))
    return data


async def test_pipes_carry_bytes_and_the_exit_status(pipes: Pipes) -> None:
    process = ScriptedAttachment()
    async with on_pipes(process, pipes) as task:
        os.write(pipes.typed, b"in\x10\x11put")
        os.close(pipes.typed)
        await process.until(lambda: process.stdin_closed)
        assert process.written == b"in\x10\x11put"
        await process.say(b"out\xff", stream=1)
        await process.say(b"err", stream=2)
        await process.end(7)
        assert await task == Outcome(exit_code=7, detached=False)
    assert await read(pipes.shown, 4) == b"out\xff"
    assert await read(pipes.complained, 3) == b"err"
    assert process.sizes == []


async def test_without_interactive_nothing_is_read(pipes: Pipes) -> None:
    process = ScriptedAttachment()
    os.write(pipes.typed, b"not for you")
    async with on_pipes(process, pipes, interactive=False) as task:
        await process.say(b"x")
        await process.end(0)
        assert await task == Outcome(exit_code=0, detached=False)
    assert (process.written, process.stdin_closed) == (b"", False)


async def test_input_from_a_file(pipes: Pipes, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"x" * 100_000)
    process = ScriptedAttachment()
    with (tmp_path / "input").open("rb") as file, (tmp_path / "output").open("wb") as out:
        async with on_pipes(process, pipes, stdin=file.fileno(), stdout=out.fileno()) as task:
            await process.until(lambda: process.stdin_closed)
            await process.say(b"y" * 100_000)
            await process.end(0)
            await task
    assert len(process.written) == 100_000
    assert (tmp_path / "output").stat().st_size == 100_000


async def test_output_that_is_read_slowly_arrives_whole(pipes: Pipes) -> None:
    process = ScriptedAttachment()
    async with on_pipes(process, pipes) as task:
        block = os.urandom(300_000)
        await process.say(block)
        assert await read(pipes.shown, len(block)) == block
        await process.end(0)
        await task


async def test_a_reader_that_goes_away_ends_it_and_the_process_goes_on(pipes: Pipes) -> None:
    process = ScriptedAttachment()
    async with on_pipes(process, pipes) as task:
        os.close(pipes.shown)
        await process.say(b"anyone?")
        with pytest.raises(BrokenPipeError):
            await task
    assert process.detached


async def test_a_process_that_went_away_has_no_status(pipes: Pipes) -> None:
    process = ScriptedAttachment()
    async with on_pipes(process, pipes) as task:
        await process.end(None, "the machine died")
        assert await task == Outcome(exit_code=None, detached=False)


async def test_input_that_nobody_takes_does_not_hide_the_end(pipes: Pipes) -> None:
    class Deaf(ScriptedAttachment):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            raise MonitorError("the process has ended")

    process = Deaf()
    async with on_pipes(process, pipes) as task:
        os.write(pipes.typed, b"x")
        await process.until(lambda: process.written == b"x")
        await process.end(1)
        assert (await task).exit_code == 1


async def test_keys_that_are_none_are_refused(pipes: Pipes) -> None:
    with pytest.raises(InvalidConfig):
        await rawtty.run(ScriptedAttachment(), terminal=True, interactive=True, detach_keys="x y")


async def test_a_terminal_is_raw_while_attached_and_then_as_before(
    pipes: Pipes, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    process = ScriptedAttachment()
    before = termios.tcgetattr(slave)
    async with on_pipes(process, pipes, terminal=True, stdin=slave, stdout=slave) as task:
        await process.until(lambda: process.sizes == [(30, 100)])
        assert termios.tcgetattr(slave) != before
        os.write(master, b"\x03\x1a\x13\r")
        await process.until(lambda: process.written == b"\x03\x1a\x13\r")
        await process.say(b"\x1b[?1049hvi")
        assert await read(master, 10) == b"\x1b[?1049hvi"
        os.write(master, b"\x10\x11")
        assert await task == Outcome(exit_code=None, detached=True)
    assert await read(master, 11) == b"\x1b[m\x1b[?1049l"
    assert termios.tcgetattr(slave) == before
    assert process.detached
    assert b"\x10" not in process.written


async def test_the_first_detach_key_alone_is_passed_on(
    pipes: Pipes, terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = terminal
    process = ScriptedAttachment()
    async with on_pipes(process, pipes, terminal=True, stdin=slave, stdout=slave):
        await process.until(lambda: bool(process.sizes))
        os.write(master, b"\x10a")
        await process.until(lambda: process.written == b"\x10a")
        monkeypatch.setattr(detach, "HOLD_SECONDS", 0.01)
        os.write(master, b"\x10")
        await process.until(lambda: process.written == b"\x10a\x10")


async def test_a_new_size_is_passed_on(pipes: Pipes, terminal: tuple[int, int]) -> None:
    _, slave = terminal
    process = ScriptedAttachment()
    async with on_pipes(process, pipes, terminal=True, stdin=slave, stdout=slave):
        await process.until(lambda: bool(process.sizes))
        termios.tcsetwinsize(slave, (40, 120))
        signal.raise_signal(signal.SIGWINCH)
        await process.until(lambda: process.sizes[-1] == (40, 120))


async def test_after_a_stop_the_terminal_is_raw_again(
    pipes: Pipes, terminal: tuple[int, int]
) -> None:
    _, slave = terminal
    process = ScriptedAttachment()
    before = termios.tcgetattr(slave)
    async with on_pipes(process, pipes, terminal=True, stdin=slave, stdout=slave):
        await process.until(lambda: len(process.sizes) == 1)
        raw = termios.tcgetattr(slave)
        termios.tcsetattr(slave, termios.TCSANOW, before)
        signal.raise_signal(signal.SIGCONT)
        await process.until(lambda: len(process.sizes) == 2)
        assert termios.tcgetattr(slave) == raw


@pytest.mark.parametrize("how", ["cancelled", "failed", "hung up"])
async def test_the_terminal_is_put_back_whatever_happens(
    how: str, pipes: Pipes, terminal: tuple[int, int]
) -> None:
    class Failing(ScriptedAttachment):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for output in super().__aiter__():
                yield output
                raise MonitorError("the monitor is gone")

    master, slave = terminal
    process = Failing() if how == "failed" else ScriptedAttachment()
    before = termios.tcgetattr(slave)
    async with on_pipes(process, pipes, terminal=True, stdin=slave, stdout=slave) as task:
        await process.until(lambda: bool(process.sizes))
        if how == "cancelled":
            task.cancel()
        elif how == "failed":
            await process.say(b"x")
        else:
            os.close(master)
            await process.until(lambda: process.stdin_closed)
            task.cancel()
        with pytest.raises((asyncio.CancelledError, MonitorError)):
            await task
    if how != "hung up":
        assert termios.tcgetattr(slave) == before
    assert process.detached


PROGRAM = """
import asyncio, sys
sys.path[:0] = [{root!r}]
from tests.tui.terminal.pty_attachment import PtyAttachment
from vctui.cli import rawtty

outcome = asyncio.run(rawtty.run(
    PtyAttachment(["sh"]), terminal=True, interactive=True, detach_keys="ctrl-p,ctrl-q"))
print(outcome, flush=True)
"""


def test_a_shell_in_a_real_terminal() -> None:
    root = str(Path(__file__).parents[2])
    child = pexpect.spawn(
        sys.executable, ["-c", PROGRAM.format(root=root)], encoding="utf-8", dimensions=(25, 90)
    )
    try:
        child.sendline("stty size; echo $((6*7))")
        child.expect("25 90")
        child.expect("42")
        child.setwinsize(31, 95)
        child.sendline("stty size")
        child.expect("31 95")
        # said by the process that is to be interrupted: a shell's child may lose a signal at first
        child.sendline("sh -c 'echo begun; exec sleep 1000'")
        child.expect("\r\nbegun\r\n")
        child.sendintr()
        child.sendline("echo status $?")
        child.expect("status 130")
        child.sendline("exit 9")
        child.expect(r"Outcome\(exit_code=9, detached=False\)")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
