"""A signal cancels what is going on, and what was begun is undone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from vctui.cli import interrupts
from vctui.cli.diagnostics import Diagnostics, Interrupted

STUBBORN = """
import asyncio, os, signal
from vctui.cli import interrupts
from vctui.cli.diagnostics import Diagnostics

async def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        print("undoing", flush=True)
        await asyncio.Event().wait()

interrupts.run(main(), Diagnostics())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_lets_undo(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = []
    diagnostics = Diagnostics()

    async def main() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            steps.append("undoing")
            os.kill(os.getpid(), signal.SIGHUP)  # a shell repeats it
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            steps.append("undone")

    with diagnostics.progress(), pytest.raises(Interrupted) as caught:
        interrupts.run(main(), diagnostics)
    assert caught.value.number == number
    assert steps == ["undoing", "undone"]
    assert capsys.readouterr().err == "interrupted; what was begun is undone\n"


def test_leaving_what_is_only_shown_is_not_worth_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    with pytest.raises(Interrupted):
        interrupts.run(main(), Diagnostics())
    assert capsys.readouterr().err == ""


def test_signals_are_what_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]

    async def nothing() -> None:
        pass

    interrupts.run(nothing(), Diagnostics())
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_second_interrupt_ends_the_program_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout
        assert program.stdout.readline() == b"undoing\n"
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=20) == -signal.SIGINT
