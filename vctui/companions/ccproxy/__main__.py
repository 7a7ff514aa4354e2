"""`python -m vctui.companions.ccproxy -uri unix:///PATH`, with cc-proxy's own options (sheet §3.1).

With -uri it is of one pod, and ends when that is unregistered and its machine gone; with
-socket-path it serves any number of machines until it is told to end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from vctui.companions.ccproxy.server import Server

_OPTIONS = ("-uri", "-socket-path", "-log")
_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "panic")


def main(arguments: list[str]) -> int:
    if arguments == ["-version"]:
        from vctui import __version__

        sys.stdout.write(f"Version: {__version__}\n")
        return 0
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    uri = options.get("-uri", "")
    path = options.get("-socket-path") or uri.removeprefix("unix://")
    level = options.get("-log", "warn")
    wrong = level not in _LEVELS or not path.startswith("/")
    if len(arguments) % 2 or not set(options) <= set(_OPTIONS) or wrong:
        sys.stderr.write(
            "usage: ccproxy -uri unix:///PATH | -socket-path /PATH [-log LEVEL] | -version\n"
        )
        return 1
    try:
        asyncio.run(_run(Server(Path(path), of_pod=bool(uri), debug=level == "debug")))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {path}: {error.strerror}; name another path\n")
        return 1
    return 0


async def _run(server: Server) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.leave)
    await server.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
