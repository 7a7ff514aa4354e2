"""An attached process on the operator's own terminal, or on pipes.

With a terminal on both sides, standard input is put into raw mode: every key goes to the
process but the detach keys, and every byte of the process goes to the operator's terminal
unfiltered, so the guest can do to it whatever a program on it could (titles, clipboard by
OSC 52, device queries). The console's own terminal confines a guest; this one is for full
fidelity. What the program has left switched on is switched off at the end.

Otherwise bytes are carried as they are: the end of standard input closes the process's, stdout
and stderr stay apart, and SIGINT is not passed on but ends this side, as with docker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final

from vctui.cli.ttymodes import TtyModes
from vctui.drivers.shims.base import Attachment
from vctui.errors import VctuiError
from vctui.present import detach

_READ: Final = 16 * 1024
_WRITE: Final = 4096
"""PIPE_BUF: a pipe that is ready takes that many without blocking."""


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_code: int | None
    """None after a detach, or when nobody knows (the attachment's `reason` tells why)."""
    detached: bool
    """The operator has left; the process goes on."""


async def run(
    attachment: Attachment,
    *,
    terminal: bool,
    interactive: bool,
    detach_keys: str,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
) -> Outcome:
    """Carry both directions until the process ends or the operator leaves.

    Args:
        terminal: the process has a terminal.
        interactive: pass standard input on.
        detach_keys: as in `console.detach_keys`; looked for in raw mode only.

    Raises:
        InvalidConfig: `detach_keys` names no keys.
        BrokenPipeError: nobody reads the output any more; the process goes on.
    """
    keys = detach.DetachKeys(detach.parse(detach_keys))
    raw = terminal and interactive and os.isatty(stdin)
    carrier = _Carrier(attachment, keys if raw else detach.DetachKeys(b""), stdin)
    shown = TtyModes()
    with _raw_mode(stdin) if raw else nullcontext():
        helpers = []
        if interactive:
            helpers.append(asyncio.create_task(carrier.carry_input()))
        if terminal and os.isatty(stdout):
            helpers.append(asyncio.create_task(_follow_size(attachment, stdout, stdin, raw=raw)))
        try:
            async for output in attachment:
                shown.watch(output.data)
                await _write(stderr if output.stream == 2 else stdout, output.data)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            with suppress(VctuiError):
                await attachment.detach()
            if raw and os.isatty(stdout):
                with suppress(OSError):  # the terminal may be gone
                    await _write(stdout, shown.undo())
    return Outcome(None if carrier.left else attachment.exit_code, carrier.left)


class _Carrier:
    """From standard input to the process, with an eye on the detach keys."""

    def __init__(self, attachment: Attachment, keys: detach.DetachKeys, stdin: int) -> None:
        self._attachment = attachment
        self._keys = keys
        self._stdin = stdin
        self.left = False

    async def carry_input(self) -> None:
        with suppress(VctuiError):  # the end of the output tells why it takes no more
            while data := await self._read():
                passed, self.left = self._keys.feed(data)
                if passed:
                    await self._attachment.write(passed)
                if self.left:
                    await self._attachment.detach()
                    return
            await self._attachment.close_stdin()

    async def _read(self) -> bytes:
        """What was typed; the beginning of the detach keys is given out when no more come."""
        if self._keys.holding:
            try:
                async with asyncio.timeout(detach.HOLD_SECONDS):
                    return await _read(self._stdin)
            except TimeoutError:
                await self._attachment.write(self._keys.flush())
        return await _read(self._stdin)


async def _follow_size(attachment: Attachment, stdout: int, stdin: int, *, raw: bool) -> None:
    """Tell the process how large the terminal is, now and whenever it changes.

    A shell that has stopped and continued this program has changed the terminal's mode too.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    changed.set()

    def resume() -> None:
        if raw:
            tty.setraw(stdin, termios.TCSADRAIN)
        changed.set()

    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    loop.add_signal_handler(signal.SIGCONT, resume)
    try:
        while await changed.wait():
            changed.clear()
            rows, columns = termios.tcgetwinsize(stdout)
            if rows and columns:
                await attachment.resize(rows, columns)
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_signal_handler(signal.SIGCONT)


@contextmanager
def _raw_mode(terminal: int) -> Iterator[None]:
    """Every key comes at once and as it is; undone on every way out."""
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal, termios.TCSADRAIN)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _read(descriptor: int) -> bytes:
    """Empty at the end. The descriptor stays in blocking mode: others may share it."""
    while True:
        await _ready(descriptor, writing=False)
        try:
            return os.read(descriptor, _READ)
        except BlockingIOError:
            continue
        except OSError:  # EIO: the terminal was closed
            return b""


async def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        await _ready(descriptor, writing=True)
        with suppress(BlockingIOError):  # somebody else has made it non-blocking
            view = view[os.write(descriptor, view[:_WRITE]) :]


async def _ready(descriptor: int, *, writing: bool) -> None:
    """Wait for a pipe, socket or terminal; a file is ready at any time."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    )

    def resolve() -> None:
        if not ready.done():
            ready.set_result(None)

    try:
        add(descriptor, resolve)
    except PermissionError:  # epoll knows no files
        return
    try:
        await ready
    finally:
        remove(descriptor)
