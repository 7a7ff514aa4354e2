"""`python -m vctui.engine.filler FOLDER`: fills the pool of ready guests, and ends.

The settings come as JSON on standard input. The folder of the pool is an argument for who looks
for the process.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from vctui.engine import filling
from vctui.engine.context import Context
from vctui.errors import VctuiError
from vctui.settings import Settings
from vctui.store.sqlite import SqliteStore


def main() -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    store = SqliteStore(settings.state_dir)
    try:
        asyncio.run(filling.fill(Context(settings, store)))
    except (VctuiError, TimeoutError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
