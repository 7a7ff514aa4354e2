"""Signals in the middle of an operation: the first cancels it, so that the engine undoes it.

SIGHUP (the terminal was closed) comes more than once and is never allowed to kill the undoing;
a second SIGINT or SIGTERM ends the program at once. What an engine leaves behind that
was ended so is repaired by the next one.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Coroutine
from typing import Any

from vctui.cli.diagnostics import Diagnostics, Interrupted


def run(main: Coroutine[Any, Any, None], diagnostics: Diagnostics) -> None:
    """Run `main` to its end, with the garbage collector again that `vctui.__main__` has stopped.

    Raises:
        Interrupted: a signal cancelled it.
    """
    if not gc.isenabled():
        gc.freeze()  # what was imported stays
        gc.enable()
    with asyncio.Runner() as runner:
        runner.run(_guarded(main, diagnostics))


async def _guarded(main: Coroutine[Any, Any, None], diagnostics: Diagnostics) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    received: list[int] = []

    def interrupt(number: int) -> None:
        if not received:
            received.append(number)
            if diagnostics.changing:
                diagnostics.note("interrupted; what was begun is undone")
            task.cancel()
        elif number != signal.SIGHUP:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, interrupt, number)
    try:
        await task
    except asyncio.CancelledError:
        if received:
            raise Interrupted(received[0]) from None
        raise
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
