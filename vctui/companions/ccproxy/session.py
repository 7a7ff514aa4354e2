"""One process of a guest as a shim knows it: a token, a pair of stream numbers, and an end."""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import Protocol

from vctui.wire import ccproxy

_TOKEN_BYTES = 32


class Shim(Protocol):
    """The connection of the shim that stands for the process."""

    def send(self, frame: ccproxy.Frame) -> None: ...

    def hang_up(self) -> None: ...


class Session:
    """
    Args:
        base: the number of its standard input and output; its standard error has the next one.
    """

    def __init__(self, base: int) -> None:
        self.token = base64.urlsafe_b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode()
        self.base = base
        self.shim: Shim | None = None
        self.claimed = asyncio.Event()
        self.started = asyncio.Event()
        self.used = False
        """A process was started with it; no second one is."""
        self.container = ""
        self.is_first = False
        """Of a container's first process, which alone can be signalled."""
        self._over = False
        self._status = b""

    @property
    def is_done(self) -> bool:
        """Its process has ended, and its shim knows how."""
        return bool(self._status) and self.shim is None

    def claim(self, shim: Shim) -> bool:
        """False where another shim has it."""
        if self.shim is not None:
            return False
        self.shim = shim
        self.claimed.set()
        return True

    def release(self) -> None:
        """The shim's connection is lost; another one may claim the token."""
        self.shim = None
        self.claimed.clear()

    def take(self, sequence: int, data: bytes) -> None:
        """What the guest sent on one of the streams."""
        if sequence == self.base and not data:
            self._over = True
        elif sequence == self.base and self._over:
            if len(data) == 1:
                self.exited(data)
        elif data and self.shim is not None:
            stream = ccproxy.Stream.STDOUT if sequence == self.base else ccproxy.Stream.STDERR
            self.shim.send(ccproxy.Frame(ccproxy.Type.STREAM, stream, data))

    def tell_end(self) -> None:
        """To a shim that has come after the end of the process."""
        if self._status:
            self.exited(self._status)

    def exited(self, status: bytes) -> None:
        self._status = status
        if self.shim is not None:
            exited = ccproxy.Notification.PROCESS_EXITED
            self.shim.send(ccproxy.Frame(ccproxy.Type.NOTIFICATION, exited, status))
