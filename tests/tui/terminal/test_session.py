"""A session between a process and the screen."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from tests.tui.terminal.screens import shown
from tests.tui.terminal.scripted import ScriptedAttachment
from vctui.errors import InvalidConfig, MonitorError
from vctui.present import detach
from vctui.tui.terminal.session import SessionState, TerminalSession


@pytest.fixture
def process() -> ScriptedAttachment:
    return ScriptedAttachment()


@pytest.fixture
def session(process: ScriptedAttachment) -> TerminalSession:
    return TerminalSession(process, detach_keys="ctrl-p,ctrl-q", rows=5, columns=20)


async def settle(session: TerminalSession, text: str) -> None:
    """Wait until `text` is on the screen."""
    changed = asyncio.Event()
    session.on_change = changed.set
    async with asyncio.timeout(10):
        while text not in "\n".join(shown(session.emulator)):
            await changed.wait()
            changed.clear()


async def test_output_is_shown_and_the_end_is_told(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    session.start()
    session.start()
    await process.say(b"hello")
    await settle(session, "hello")
    assert (session.attached, session.status) == (True, "attached")
    await process.end(3)
    await session.wait()
    assert session.state is SessionState.ENDED
    assert session.status == "exited 3"
    assert not session.send(b"too late")


async def test_a_process_that_went_away_has_a_reason(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    session.start()
    await process.end(None, "the machine died")
    await session.wait()
    assert (session.exit_code, session.status) == (None, "the machine died")


async def test_a_failing_monitor_is_a_reason_too() -> None:
    class Failing(ScriptedAttachment):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            raise MonitorError("the monitor of pod 'a' is gone")
            yield

        async def write(self, data: bytes) -> None:
            raise MonitorError("gone")

    session = TerminalSession(Failing())
    session.start()
    session.send(b"x")
    await session.wait()
    assert session.status == "the monitor of pod 'a' is gone"


async def test_input_answers_and_sizes_reach_the_process(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    session.start()
    session.type(b"ls\r")
    await process.until(lambda: process.written == b"ls\r")
    await process.say(b"\x1b[6n")
    await process.until(lambda: process.written.endswith(b"\x1b[1;1R"))
    for columns in range(10, 30):
        session.resize(7, columns)
    await process.until(lambda: bool(process.sizes))
    assert process.sizes == [(7, 29)]
    await session.detach()


async def test_detach_keys_leave_and_the_process_goes_on(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    session.start()
    session.type(b"\x10")
    session.type(b"\x11")
    await session.wait()
    assert process.detached
    assert session.state is SessionState.DETACHED
    assert process.written == b""
    await session.detach()


async def test_the_first_detach_key_alone_is_passed_on(
    process: ScriptedAttachment, session: TerminalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.start()
    session.type(b"\x10")
    session.type(b"x")
    await process.until(lambda: process.written == b"\x10x")
    monkeypatch.setattr(detach, "HOLD_SECONDS", 0.0)
    session.type(b"\x10")
    await process.until(lambda: process.written == b"\x10x\x10")
    await session.detach()


async def test_pasted_detach_keys_are_input(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    session.start()
    session.send(b"\x10\x11")
    await process.until(lambda: process.written == b"\x10\x11")
    await session.detach()


async def test_unread_input_is_bounded_and_arrives_whole(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    session.start()
    process.reads.clear()
    block = bytes(range(256)) * 4096
    sent = sum(session.send(block) for _ in range(8))
    assert sent == 4
    assert not session.send(block)
    process.reads.set()
    await process.until(lambda: len(process.written) == sent * len(block))
    assert process.written == block * sent
    await session.detach()


async def test_changes_are_told_at_most_once_a_frame(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    calls: list[float] = []
    twice = asyncio.Event()

    def changed() -> None:
        calls.append(time.monotonic())
        if len(calls) == 2:
            twice.set()

    session.on_change = changed
    session.start()
    for number in range(200):
        await process.say(b"%d\r\n" % number)
    await process.end(0)
    await session.wait()
    async with asyncio.timeout(10):
        await twice.wait()
    assert min(b - a for a, b in itertools.pairwise(calls)) > 0.02
    assert len(calls) < 30


async def test_a_flood_leaves_the_screen_its_turn(
    process: ScriptedAttachment, session: TerminalSession
) -> None:
    """Measured in CPU time of this thread: what others do on the machine does not count."""
    session.start()
    longest, before = 0.0, time.thread_time()

    async def beat() -> None:
        nonlocal longest, before
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    beating = asyncio.create_task(beat())
    flood = b"\x1b[H\x1b[J\x1b#8" * 3_000
    for _ in range(3):
        await process.say(flood)
    await process.end(0)
    async with asyncio.timeout(60):
        await session.wait()
    beating.cancel()
    assert longest < 0.05


def test_detach_keys_are_checked() -> None:
    with pytest.raises(InvalidConfig):
        TerminalSession(ScriptedAttachment(), detach_keys="ctrl-p+ctrl-q")
