"""The agent's vsock port (kata-agent ttrpc sheet, §1): any number of clients, a connection each."""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest.loop import READ
from vctui.guest.modules import insert

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.loop import Loop

PORT = 1024
MODULE = "vmw_vsock_virtio_transport"
_AF_VSOCK = 40
_ANY_CID = 0xFFFFFFFF
_BACKLOG = 64


async def listen(children: Children, config: Config) -> _socket.socket:
    """Have the kernel's module, and listen.

    Raises:
        AgentError: this kernel has no vsock.
    """
    import _socket  # what the much larger `socket` wraps

    await insert(children, config, MODULE)
    kind = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
    try:
        listening = _socket.socket(_AF_VSOCK, kind)
        listening.bind((_ANY_CID, PORT))
        listening.listen(_BACKLOG)
    except OSError as error:
        raise AgentError(f"this kernel has no vsock: {error.strerror}") from error
    return listening


def serve(loop: Loop, listening: _socket.socket, client: Callable[[int], object]) -> None:
    """Give `client` a non-blocking descriptor of everybody who connects."""

    def accept(_events: int) -> None:
        try:
            # accept() is what the much larger `socket` makes of it
            descriptor, _ = listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        except OSError:  # it has left already
            return
        os.set_blocking(descriptor, False)
        client(descriptor)

    loop.watch(listening.fileno(), READ, accept)
