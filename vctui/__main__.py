"""The program `vctui`. It puts the two faces side by side: neither imports the other."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vctui.settings import Settings


def open_console(settings: Settings, *, read_only: bool) -> int:
    """Run the console until it is left; its exit status. Imports Textual."""
    from vctui.linux.files import private_dir
    from vctui.telemetry import logs
    from vctui.tui.app import run

    gc.enable()
    with suppress(OSError):  # the engine says what is wrong with the folder
        logs.to_file(private_dir(settings.state_dir))
    return run(settings, read_only=read_only)


def main() -> int:
    """The console script: returns the exit status."""
    gc.disable()  # until a command begins: of what it imports nothing is garbage
    from vctui.cli.main import run

    return run(sys.argv[1:], open_console=open_console)


if __name__ == "__main__":
    sys.exit(main())
