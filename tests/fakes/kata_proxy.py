"""A kata-proxy as proxies-and-shims has it (§2), but for the syslog that it needs.

It writes entries to its standard error, lines of the agent's log among them, and ends at its next
client when its session has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from vctui.companions.monitor.yamux_link import Client, Mux
from vctui.linux import sockets

FLAGS = ("-mux-socket", "-listen-socket", "-agent-logs-socket", "-log")
"""Those of every release."""


def log(level: str, message: str, source: str, more: str = "") -> None:
    sys.stderr.write(
        f'time="2020-01-01T00:00:00.000000001Z" level={level} msg="{message}" {more} '
        f"name=kata-proxy pid={os.getpid()} source={source}\n"
    )
    sys.stderr.flush()


def fail(message: str, error: str) -> int:
    log("fatal", message, "proxy", f'error="{error}"')
    return 1


def main(arguments: list[str]) -> int:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert set(options) <= set(FLAGS), options
    if not {"-mux-socket", "-listen-socket"} <= set(options):
        sys.stdout.write("missing options\n")
        return 0
    mux, listen = (
        Path(options[flag].removeprefix("unix://")) for flag in ("-mux-socket", "-listen-socket")
    )
    if max(len(os.fsencode(path)) for path in (mux, listen)) > sockets.MAX_PATH:
        return fail("failed to serve", "bind: invalid argument")
    if listen.exists():
        return fail("failed to serve", "bind: address already in use")
    if options.get("-log") == "debug":
        log("info", "announce", "proxy", 'log-level=debug debug="true"')
    return asyncio.run(serve(mux, listen, options.get("-agent-logs-socket", "")))


async def tell(logs: asyncio.StreamReader) -> None:
    while line := await logs.readline():
        log("info", line.decode().rstrip() + r"\n", "agent")


async def serve(mux_path: Path, listen: Path, logs: str) -> int:
    loop = asyncio.get_running_loop()
    if logs:
        reader, writer = await asyncio.open_unix_connection(logs)
        telling = asyncio.create_task(tell(reader))
    _, mux = await loop.create_connection(Mux, sock=await sockets.connect(mux_path))
    greeting = asyncio.create_task(mux.greet())
    status = loop.create_future()

    def accept() -> asyncio.Protocol:
        if mux.lost.done() and not status.done():
            status.set_result(fail("channel error", "session shutdown"))
        return Client(mux)

    loop.add_signal_handler(signal.SIGTERM, lambda: status.done() or status.set_result(0))
    await asyncio.wait({greeting, mux.lost, status}, return_when=asyncio.FIRST_COMPLETED)
    server = await loop.create_unix_server(accept, sock=sockets.listen(listen))
    code: int = await status
    await sockets.stop(server)
    listen.unlink(missing_ok=True)
    greeting.cancel()
    mux.abort()
    if logs:
        telling.cancel()
        writer.transport.abort()
    return code
