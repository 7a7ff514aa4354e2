"""`python -m vctui.companions.monitor`: started by the built-in proxy, one for each pod.

Every option has a value and must be given; --proxy-program is "" for the built-in proxy;
--given-fd is the inherited number of a socket by which it is given, when its pod's folder stands,
the socket that listens on `monitor.sock` and its standard error. Until then it is nobody's, and
ends with whoever has started it.
"""

from __future__ import annotations

import gc
import sys

gc.disable()  # until all is imported: of that nothing is garbage

from vctui.companions.monitor import slimming  # noqa: E402

slimming.before_asyncio()

import asyncio  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
from pathlib import Path  # noqa: E402

_OPTIONS = (
    "--pod-id",
    "--run-dir",
    "--state-dir",
    "--max-log-bytes",
    "--replay-bytes",
    "--agent-protocol",
    "--agent-socket",
    "--proxy-program",
    "--proxy-debug",
    "--given-fd",
)


def main(arguments: list[str]) -> int:
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or set(options) != set(_OPTIONS):
        words = " ".join(f"{option} VALUE" for option in _OPTIONS)
        sys.stderr.write(f"usage: python -m vctui.companions.monitor {words}\n")
        return 2
    slimming.after_asyncio()
    from vctui.errors import VctuiError

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(_run(options))
    except VctuiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _run(options: dict[str, str]) -> None:
    from vctui.companions.monitor.core import Config, Monitor
    from vctui.drivers.agents.kata.ports import CHANNEL
    from vctui.drivers.hypervisors.qemu import qmp
    from vctui.model.kinds import AgentProtocol, SocketType, parse
    from vctui.model.proxy import ProxyConfig
    from vctui.store.sqlite import SqliteStore
    from vctui.wire.hyperstart import CONTROL_PORT

    hyperstarts = {AgentProtocol.HYPERSTART, AgentProtocol.CC_AGENT}
    protocol = parse(AgentProtocol, options["--agent-protocol"])
    left = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, left.set)
    gc.collect()
    gc.freeze()
    gc.enable()
    listening = await _given(socket.socket(fileno=int(options["--given-fd"])), left)
    if listening is None:
        return
    monitor = Monitor(
        Config(
            pod_id=options["--pod-id"],
            run_dir=Path(options["--run-dir"]),
            max_log_bytes=int(options["--max-log-bytes"]),
            replay_bytes=int(options["--replay-bytes"]),
            agent_chardev=CONTROL_PORT if protocol in hyperstarts else CHANNEL,
            agent_protocol=protocol,
            socket_type=parse(SocketType, options["--agent-socket"]),
            proxy=ProxyConfig(
                path=options["--proxy-program"], debug=options["--proxy-debug"] == "true"
            ),
        ),
        lambda: SqliteStore(Path(options["--state-dir"])),
        qmp.connect,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, monitor.leave)
    # who connects knows that there is a machine to watch
    await _readable(listening, monitor.left)
    await monitor.run(listening)


async def _given(channel: socket.socket, left: asyncio.Event) -> socket.socket | None:
    """The socket to serve on; None where there will be none, or with `left`."""
    with channel:
        await _readable(channel, left)
        if left.is_set():
            return None
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 2, socket.MSG_CMSG_CLOEXEC)
    if not descriptors:
        return None
    listening, errors = descriptors
    os.dup2(errors, sys.stderr.fileno())
    os.close(errors)
    served = socket.socket(fileno=listening)
    served.setblocking(False)
    return served


async def _readable(what: socket.socket, left: asyncio.Event) -> None:
    """Return when it is, or with `left`."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(what, readable.set)
    waiting = [loop.create_task(event.wait()) for event in (readable, left)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(what)
        for task in waiting:
            task.cancel()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
