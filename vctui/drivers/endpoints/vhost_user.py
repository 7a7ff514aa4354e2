"""vhost-user: a program of the host (a switch in user space) serves the machine's card on a socket.

The socket is found by the interface's address, `/tmp/vhostuser_<IP>/vhu.sock` (sheet §6.3). Anybody
can make a folder in /tmp, so it counts only where root or we ourselves made it and others cannot
write to it.

The machine connects as a client. When the program goes away, the guest's card has no carrier until
one serves the socket again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from vctui.drivers.endpoints.base import Wiring
from vctui.errors import NetworkError
from vctui.linux import sockets
from vctui.model.network import Endpoint


def find(addresses: Iterable[str], *, folder: Path = Path("/tmp")) -> str:  # noqa: S108
    """The socket that serves an interface with one of the addresses; "" where there is none."""
    for address in addresses:
        place = folder / f"vhostuser_{address.partition('/')[0]}"
        socket = place / "vhu.sock"
        try:
            owner, file = place.lstat(), socket.lstat()
        except OSError:
            continue
        ours = {0, os.geteuid()}
        trusted = owner.st_uid in ours and file.st_uid in ours and not owner.st_mode & 0o022
        if trusted and stat.S_ISDIR(owner.st_mode) and stat.S_ISSOCK(file.st_mode):
            return str(socket)
    return ""


class VhostUser(Wiring):
    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        return endpoint

    def connect(self, endpoint: Endpoint) -> None:
        """The machine itself connects to the socket; it would wait for somebody to serve it."""
        self.check(endpoint)

    def check(self, endpoint: Endpoint) -> None:
        if not sockets.is_served(Path(endpoint.socket)):
            raise NetworkError(
                f"interface {endpoint.interface.name!r} is to be served by vhost-user on "
                f"{endpoint.socket}, but no program listens there; start the one that did, or "
                "remove the socket"
            )

    def disconnect(self, endpoint: Endpoint) -> None:
        """Nothing was made."""
