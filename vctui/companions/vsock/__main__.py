"""`python -m vctui.companions.vsock`: started by the QEMU driver, one for each machine whose vsock
device the host's kernel does not serve.

Every option has a value and must be given. --vhost-fd is the inherited number of a socket whose
other end QEMU has; --listen-fd that of the hybrid socket, which listens at --socket already. It
ends with QEMU.
"""

from __future__ import annotations

import sys

from vctui.companions.monitor import slimming

slimming.before_asyncio()

import asyncio  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
from pathlib import Path  # noqa: E402

_OPTIONS = ("--socket", "--vhost-fd", "--listen-fd")
_WARNINGS = 100
"""A guest must not fill the log."""


def main(arguments: list[str]) -> int:
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or set(options) != set(_OPTIONS):
        words = " ".join(f"{option} VALUE" for option in _OPTIONS)
        sys.stderr.write(f"usage: python -m vctui.companions.vsock {words}\n")
        return 2
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asyncio.run(_run(options))
    return 0


async def _run(options: dict[str, str]) -> None:
    from vctui.companions.vsock.device import GUEST_CID, Device
    from vctui.companions.vsock.switch import Switch
    from vctui.linux import sockets

    left = _WARNINGS

    def warn(message: str) -> None:
        nonlocal left
        if left:
            left -= 1
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()

    loop = asyncio.get_running_loop()
    path = Path(options["--socket"])
    switch = Switch(path, GUEST_CID)
    listening = socket.socket(fileno=int(options["--listen-fd"]))
    listening.setblocking(False)
    server = await loop.create_unix_server(switch.client, sock=listening)
    device = Device(socket.socket(fileno=int(options["--vhost-fd"])), switch, warn)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, device.close)
    try:
        await device.ended
    finally:
        await sockets.stop(server)
        await switch.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - the last thing that is done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
