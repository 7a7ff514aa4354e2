"""A process that is connected to a terminal of the host (API: Cmd.Console)."""

from __future__ import annotations

import asyncio
import os
import pty
import termios
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from tests.companions.conftest import POD, WAIT, Pod, running_monitor, until
from vctui.errors import FileProblem
from vctui.model.events import EventKind
from vctui.model.state import State

_LOCAL_MODES = 3


class Terminal:
    """Whoever opened it looks at `reads` and types with `types`."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.path = os.ttyname(self.theirs)
        self._seen = b""

    async def reads(self, ending: bytes) -> bytes:
        def look() -> bytes:
            with suppress(BlockingIOError):
                self._seen += os.read(self.ours, 65536)
            return self._seen if self._seen.endswith(ending) else b""

        return await until(look)

    def types(self, data: bytes) -> None:
        os.write(self.ours, data)

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.theirs)[_LOCAL_MODES] & termios.ECHO)

    def close(self) -> None:
        for fd in (self.ours, self.theirs):
            with suppress(OSError):
                os.close(fd)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


async def test_output_input_and_size_go_through_the_terminal(ready: Pod, terminal: Terminal):
    termios.tcsetwinsize(terminal.theirs, (30, 100))
    process = ready.agent.process("c1")
    await ready.start_shim(terminal=True, console=terminal.path)
    await until(lambda: process.size == (30, 100))
    assert not terminal.echoes, "the process's own terminal in the guest echoes"
    await process.print(b"hello\r\n")
    await terminal.reads(b"hello\r\n")
    terminal.types(b"ls\x03")
    await until(lambda: process.stdin == b"ls\x03")
    termios.tcsetwinsize(terminal.theirs, (50, 90))
    await until(lambda: process.size == (50, 90))
    await process.end(0)
    assert await ready.shim.wait(ready.run_dir, "c1") == 0
    await until(lambda: terminal.echoes)
    assert b"hello" in ready.container_log.read_bytes(), "it is logged as ever"


async def test_without_a_terminal_in_the_guest_the_hosts_edits_lines(
    ready: Pod, terminal: Terminal
):
    process = ready.agent.process("c1")
    await ready.start_shim(console=terminal.path)
    terminal.types(b"tpyo\x15line\n")
    await until(lambda: process.stdin == b"line\n")
    await process.print(b"no\n", stderr=True)
    await terminal.reads(b"no\r\n")
    terminal.types(b"\x04")
    await until(lambda: process.stdin_closed)
    await process.end(0)
    await ready.shim.wait(ready.run_dir, "c1")


async def test_the_last_words_reach_a_slow_reader_of_the_terminal(ready: Pod, terminal: Terminal):
    process = ready.agent.process("c1")
    await ready.start_shim(terminal=True, console=terminal.path)
    await process.print(b"x" * 40_000 + b"end")
    await process.end(0)
    assert await ready.shim.wait(ready.run_dir, "c1") == 0
    assert len(await terminal.reads(b"end")) == 40_003


async def test_a_terminal_that_is_closed_is_the_end_of_the_input(ready: Pod, terminal: Terminal):
    process = ready.agent.process("c1")
    await ready.start_shim(console=terminal.path)
    terminal.close()
    await until(lambda: process.stdin_closed)
    await process.print(b"to nobody\n")
    await ready.until_log(ready.container_log, b"to nobody\n")
    await process.end(4)
    assert await ready.shim.wait(ready.run_dir, "c1") == 4


@pytest.mark.parametrize("path", ["/dev/null", "/nowhere/tty", "/etc/passwd"])
async def test_what_is_no_terminal_is_refused_and_nothing_stands_for_the_process(
    ready: Pod, path: str
):
    with pytest.raises(FileProblem, match=f"console '{path}' of container 'c1' cannot be used: "):
        await ready.start_shim(console=path)
    assert "ReadStdout" not in [method for method, _ in ready.agent.calls]


async def test_a_new_monitor_finds_the_terminal_again_or_says_that_it_is_gone(
    pod: Pod, terminal: Terminal
):
    pod.record()
    current = pod.store.pod(POD).containers[0]
    cmd = msgspec.structs.replace(current.config.cmd, console=terminal.path, interactive=True)
    config = msgspec.structs.replace(current.config, cmd=cmd)
    with pod.store.transaction() as tx:
        tx.save_container(POD, msgspec.structs.replace(current, config=config, state=State.RUNNING))
    process = pod.agent.process("c1")
    async with running_monitor(pod):
        await pod.qemu.open_port()
        await process.print(b"first\n")
        await terminal.reads(b"first\n")
    assert terminal.echoes
    terminal.close()
    async with running_monitor(pod), asyncio.timeout(WAIT):
        assert "cannot be used" in await pod.until_event(EventKind.WARNING)
        await pod.qemu.open_port()
        await process.print(b"second\n")
        await pod.until_log(pod.container_log, b"second\n")
