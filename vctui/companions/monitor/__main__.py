"""`python -m vctui.companions.monitor`: started by the built-in proxy, one for each pod.

Every option has a value and must be given; --proxy-program is "" for the built-in proxy;
--listen-fd is the inherited number of the socket
that listens on `monitor.sock` already.
"""

from __future__ import annotations

import gc
import sys

gc.disable()  # until all is imported: of that nothing is garbage

from vctui.companions.monitor import slimming  # noqa: E402

slimming.before_asyncio()

import asyncio  # noqa: E402
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
    "--listen-fd",
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
    listening = socket.socket(fileno=int(options["--listen-fd"]))
    listening.setblocking(False)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, monitor.leave)
    gc.collect()
    gc.freeze()
    gc.enable()
    await _called(listening, monitor.left)
    await monitor.run(listening)


async def _called(listening: socket.socket, left: asyncio.Event) -> None:
    """Return when somebody connects, who knows that there is a machine to watch; or with
    `left`."""
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    loop.add_reader(listening, called.set)
    waiting = [loop.create_task(event.wait()) for event in (called, left)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(listening)
        for task in waiting:
            task.cancel()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
