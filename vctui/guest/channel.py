"""The agent's channel: a virtio-serial port, found by its name, that host clients come and go on;
or connections to a vsock port, of which each is one client's.

The port tells that the host has left by reading as ended. What was received of a frame by then and
what still had to be sent belong to the client that is gone; who comes next starts afresh.
"""

from __future__ import annotations

import os

from vctui.guest.loop import EDGE, READ, WRITE, Future
from vctui.guest.uevents import appears
from vctui.wire import ttrpc
from vctui.wire.ttrpc import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from vctui.guest.loop import Loop, Timer
    from vctui.wire.ttrpc import Frame
else:
    from _collections import deque

_CHUNK = 64 * 1024
_READS_PER_TURN = 64
_HIGH_WATER = 4 * 1024 * 1024
"""Bytes that wait to be sent; above, no more requests are read."""
_FULL = 256 * 1024
"""Bytes that wait to be sent at which who may wait does."""
_HALF_FRAME_PATIENCE = 10.0
"""Seconds for a frame to become complete. If a client leaves and another comes before we look,
the rest of the first one's frame never comes."""
_ANNOUNCEMENT = 1.0
"""Seconds for the kernel to tell of a client after its first bytes. One whom it does not tell of
has left already."""
_FIRST = ttrpc.encode(1, ttrpc.REQUEST)[4:]
"""Stream, type and flags of a first request; behind it comes the service's name (field 1)."""
_YAMUX_PING = bytes((0, 2, 0, 1, 0, 0, 0, 0))
_PING_SIZE = 12
"""Bytes. A host that does not know what is spoken here asks so (kata-agent gRPC sheet, §8.4)."""
_SERVICES = (b"grpc.", b"vctui.")


def find_port(name: str, sys: str = "/sys", dev: str = "/dev") -> str | None:
    """The device of the virtio-serial port called `name`, None while there is none."""
    ports = f"{sys}/class/virtio-ports"
    try:
        for port in os.listdir(ports):
            try:
                with open(f"{ports}/{port}/name", encoding="utf-8", errors="replace") as file:
                    if file.read().strip() == name and os.path.exists(f"{dev}/{port}"):
                        return f"{dev}/{port}"
            except FileNotFoundError:
                continue  # it has no name yet
    except FileNotFoundError:
        return None
    return None


async def wait_port(loop: Loop, name: str, sys: str = "/sys", dev: str = "/dev") -> str:
    """The device, as soon as there is one; modules may still be being inserted."""
    while (path := await appears(loop, lambda: find_port(name, sys, dev))) is None:
        continue
    return path


def is_first_frame(data: bytes) -> bool:
    """Whether a piece of what the port delivers is the beginning of a client's first request.

    The port delivers what one client has sent and what the next one sends apart, but if the next
    one is quick, not that there was a change.
    """
    return data[4:10] == _FIRST and data[10:11] == b"\n" and data[12:].startswith(_SERVICES)


class Port:
    """Bytes in, bytes out, over a non-blocking descriptor.

    The kernel can deliver a client's first bytes before it learns that there is a client: until
    then the port reads as ended, which is no sign that the client has left.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        *,
        receive: Callable[[bytes], None],
        lost: Callable[[], None],
        stays: bool = True,
    ) -> None:
        """
        Args:
            receive: is given what one read delivers.
            lost: is called when the host has left.
            stays: another client may come after that; otherwise the descriptor is closed then.
        """
        self._stays = stays
        self._loop = loop
        self._fd = fd
        self._receive = receive
        self._lost = lost
        self._out: deque[memoryview] = deque()
        self._waiting = 0
        self._connected = False
        self._unannounced: Timer | None = None
        """Runs while there are bytes of a client whom the kernel has not told of."""
        self._stalled = False
        self._drained = Future()
        loop.watch(fd, READ | WRITE | EDGE, lambda _events: self._ready())

    def send(self, data: bytes) -> None:
        self._out.append(memoryview(data))
        self._waiting += len(data)
        self._flush()

    async def room(self) -> None:
        """Return when little waits to be sent, or nobody is there to take it."""
        while self._waiting > _FULL:
            self._drained = drained = self._drained if not self._drained.done else Future()
            await drained

    def close(self) -> None:
        """Of a client that broke the protocol, or has left. Idempotent."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ready(self) -> None:
        self._flush()
        self._read()

    def _read(self) -> None:
        """Until there is nothing more: the edge tells only once."""
        for _ in range(_READS_PER_TURN):
            if self._fd < 0:
                return
            if self._waiting > _HIGH_WATER:
                self._stalled = True
                return
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                self._connected = True
                self._hear_of_client()
                return
            except (ConnectionResetError, TimeoutError):  # a socket's way to say so
                data = b""
            if not data:
                if self._unannounced is None:
                    self._disconnect()
                return
            if self._stays and not self._connected:
                self._unannounced = self._loop.later(_ANNOUNCEMENT, self._disconnect)
            self._connected = True
            self._receive(data)
        self._loop.soon(self._read)

    def _flush(self) -> None:
        try:
            while self._out:
                written = os.write(self._fd, self._out[0])
                self._waiting -= written
                if written < len(self._out[0]):
                    self._out[0] = self._out[0][written:]
                else:
                    self._out.popleft()
        except BlockingIOError:
            pass
        except OSError:  # nobody is there to read; reading will tell
            return
        if self._waiting <= _FULL:
            self._drained.succeed()
        if self._stalled and self._waiting <= _HIGH_WATER:
            self._stalled = False
            self._loop.soon(self._read)

    def _hear_of_client(self) -> None:
        if self._unannounced is not None:
            self._unannounced.cancel()
            self._unannounced = None

    def _disconnect(self) -> None:
        self._hear_of_client()
        self._out.clear()
        self._waiting = 0
        self._drained.succeed()
        self._stalled = False
        if not self._stays:
            self.close()
        if self._connected:
            self._connected = False
            self._lost()


class Channel(Port):
    """ttrpc frames in, frames out."""

    def __init__(
        self,
        loop: Loop,
        fd: int,
        *,
        receive: Callable[[Frame], None],
        lost: Callable[[], None],
        stays: bool = True,
    ) -> None:
        """
        Args:
            receive: is given each frame.
            lost: is called when the host has left.
            stays: another client may come after that.
        """
        self._decoder = Decoder()
        self._half: Timer | None = None
        self._take_frame = receive
        super().__init__(loop, fd, receive=self._take, lost=lost, stays=stays)

    def _take(self, data: bytes) -> None:
        if not self._decoder.pending and data.startswith(_YAMUX_PING):
            self.send(ttrpc.NOT_YAMUX)
            data = data[_PING_SIZE:]
        if self._decoder.pending and is_first_frame(data):
            self._decoder = Decoder()
        for frame in self._decoder.feed(data):
            self._take_frame(frame)
        self._watch_half_frame()

    def _disconnect(self) -> None:
        self._decoder = Decoder()
        self._watch_half_frame()
        super()._disconnect()

    def _watch_half_frame(self) -> None:
        if self._half is not None:
            self._half.cancel()
            self._half = None
        if self._decoder.pending:
            self._half = self._loop.later(_HALF_FRAME_PATIENCE, self._drop_half_frame)

    def _drop_half_frame(self) -> None:
        self._decoder = Decoder()
        self._half = None
