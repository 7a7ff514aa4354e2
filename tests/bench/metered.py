"""The program with a meter on its first thread's event loop (run as a module).

Usage: python -m tests.bench.metered FILE [ARGUMENTS OF vctui]

A stretch is what the loop does between two looks at its selector: no key is heard meanwhile. When
the program ends, FILE gets a JSON list of [when, wall, cpu]: the stretches of a millisecond and
more, when each began (time.perf_counter, which all processes share), and its length in seconds
and in seconds of that thread's processor time, which other users of the machine lengthen less.
"""

from __future__ import annotations

import atexit
import json
import selectors
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

_SHORTEST: Final = 0.001


def install(file: Path) -> None:
    first = threading.get_ident()
    stretches: list[tuple[float, float, float]] = []
    began: tuple[float, float] | None = None
    select = selectors.DefaultSelector.select

    def metered(self: Any, timeout: float | None = None) -> Any:
        nonlocal began
        if threading.get_ident() != first:
            return select(self, timeout)
        if began is not None:
            wall = time.perf_counter() - began[0]
            if wall >= _SHORTEST:
                stretches.append((began[0], wall, time.thread_time() - began[1]))
        try:
            return select(self, timeout)
        finally:
            began = time.perf_counter(), time.thread_time()

    selectors.DefaultSelector.select = metered  # type: ignore[method-assign]
    atexit.register(lambda: file.write_text(json.dumps(stretches)))


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    sys.argv = ["vctui", *sys.argv[2:]]
    from vctui.__main__ import main

    main()
