"""Writing to a terminal that has gone away."""

from __future__ import annotations

import os
import pty
import threading
from contextlib import suppress

from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from vctui.tui.terminal.driver import Lasting

DEADLINE = 30


def test_output_for_a_terminal_that_is_gone_holds_nobody_up() -> None:
    master, terminal = pty.openpty()
    file = os.fdopen(terminal, "w")
    try:
        writer = WriterThread(Lasting(file))  # type: ignore[arg-type]
        writer.start()
        writer.write("a picture")
        os.close(master)

        def go_on() -> None:
            for _ in range(3 * MAX_QUEUED_WRITES):
                writer.write("a picture\n" * 1000)
            writer.stop()

        others = threading.Thread(target=go_on, daemon=True)
        others.start()
        others.join(DEADLINE)
        assert not others.is_alive()
        assert not writer.is_alive()
    finally:
        with suppress(OSError):  # it still holds what was not taken
            file.close()
