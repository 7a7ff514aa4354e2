"""The client's end of a gRPC connection to a guest's agent (kata-agent gRPC sheet, §1).

The door to grpcio, which takes 20 MB: imported only for a pod whose agent speaks gRPC. Calls are
unary, messages are bytes here, and errors are those of `ttrpc_client`, as their codes are gRPC's.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any, Final

from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import sockets
from vctui.wire import ttrpc

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # we only ever spawn
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is raised

import grpc
import grpc.aio

# what goes wrong is raised, and not to be told with all that a guest has sent
logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)

_MAX_ANSWER: Final = 8 * 1024 * 1024
_STATUS_CHARS: Final = 4096
_CHECK: Final = 30.0
"""Seconds for a health check, as Kata's own runtime has it."""
_AGAIN: Final = 0.1
_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", _MAX_ANSWER),
    ("grpc.default_authority", "localhost"),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 20_000),  # for the first word of a guest that is busy
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
)


class Session:
    """Calls to one agent; the connection is made, and made again, when a call needs it.

    Args:
        target: a name that grpcio resolves. Its packages are built without vsock.
    """

    def __init__(self, target: str) -> None:
        self._folder = -1
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)

    @classmethod
    def over_unix(cls, path: Path) -> Session:
        """Over a unix socket, however long its path is. Raises OSError for a missing folder."""
        if len(os.fsencode(path)) <= sockets.MAX_PATH:
            return cls(f"unix:{path}")
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            session = cls(f"unix:/proc/self/fd/{folder}/{path.name}")
        except BaseException:
            os.close(folder)
            raise
        session._folder = folder
        return session

    async def ready(self, *, timeout: float) -> None:
        """Return when there is a connection. Raises TimeoutError, which is an OSError."""
        async with asyncio.timeout(timeout):
            await self._channel.channel_ready()

    async def call(
        self, service: str, method: str, payload: bytes = b"", *, timeout: float | None = None
    ) -> bytes:
        """A unary call: the payload of the answer.

        Raises:
            CallFailed: with the peer's code and message.
            ConnectionLost: no answer will come.
            TimeoutError: none came within `timeout` seconds.
        """
        begun = asyncio.get_running_loop().time()
        call: Any = self._channel.unary_unary(f"/{service}/{method}")
        try:
            answer: bytes = await call(payload, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            code, details = error.code().value[0], (error.details() or "")[:_STATUS_CHARS]
            if code == ttrpc.UNAVAILABLE:
                raise ConnectionLost(details) from error
            waited = asyncio.get_running_loop().time() - begun
            if code == ttrpc.DEADLINE_EXCEEDED and timeout is not None and waited >= timeout:
                raise TimeoutError from error
            raise CallFailed(code, details) from error
        except grpc.aio.UsageError as error:
            raise ConnectionLost("the connection is closed") from error
        return answer

    async def is_answered(self) -> bool:
        """Ask after the agent's health: whether it answers, whatever it says."""
        try:
            await self.call("grpc.Health", "Check", timeout=_CHECK)
        except (ConnectionLost, TimeoutError):
            return False
        except CallFailed:
            pass
        return True

    async def answered(self) -> None:
        """Return when it does."""
        while not await self.is_answered():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_AGAIN)

    async def close(self) -> None:
        """Idempotent."""
        await self._channel.close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
