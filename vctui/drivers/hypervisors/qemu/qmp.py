"""The one door to qemu.qmp: a QMP session, and errors of ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from vctui.errors import HypervisorError
from vctui.linux import lean, sockets

with lean.with_names("ssl", SSLContext=object):  # a type in its annotations
    from qemu.qmp import QMPClient, QMPError, Runstate

_PATIENCE: Final = 10.0
_GONE: Final = (QMPError, EOFError, OSError, AssertionError)
"""What comes of a QEMU that ends while it is talked to; qemu.qmp has been seen to fail
an assertion of its own there."""

# A connection that ends when its machine does is no error; qemu.qmp logs it as one.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Session:
    """A connection on which QEMU's capabilities were negotiated."""

    def __init__(self, client: QMPClient, dropped: asyncio.Task[Any], timeout: float) -> None:
        self._client = client
        self._dropped = dropped
        self._timeout = timeout

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """The command's return value.

        Raises:
            HypervisorError: QEMU refused, did not answer in time, or went away.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._client.execute(command, arguments)
        except TimeoutError as error:
            raise HypervisorError(
                f"QEMU did not answer {command!r} within {self._timeout:g} s; "
                "stop the pod if it stays so"
            ) from error
        except _GONE as error:
            raise HypervisorError(f"QEMU did not do {command!r}: {error}; try again") from error

    async def give_file(self, name: str, descriptor: int) -> None:
        """Let QEMU have an open file of ours, which later commands call `name`.

        Raises:
            HypervisorError: as `execute`.
        """
        try:
            self._client.send_fd_scm(descriptor)
        except _GONE as error:
            raise HypervisorError(f"QEMU took no file: {error}; try again") from error
        await self.execute("getfd", {"fdname": name})

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Events since the connection was made, each as QMP has it; ends with the connection."""
        events = self._client.events
        heard: asyncio.Task[Any] | None = None
        try:
            while True:
                while not events.empty():
                    yield dict(await events.get())
                if self._dropped.done() or self._client.runstate is not Runstate.RUNNING:
                    return
                heard = asyncio.create_task(events.get())
                await asyncio.wait({heard, self._dropped}, return_when=asyncio.FIRST_COMPLETED)
                if heard.done():
                    yield dict(heard.result())
                else:
                    heard.cancel()
        finally:
            if heard is not None:
                heard.cancel()


@asynccontextmanager
async def connect(path: Path, *, timeout: float = _PATIENCE) -> AsyncIterator[Session]:
    """A session with the QEMU that serves `path`. It serves one client, others wait their turn.

    Args:
        timeout: seconds for the greeting, and for each answer.

    Raises:
        HypervisorError: nobody listens there, or no greeting came in time.
    """
    client = QMPClient()
    try:
        async with asyncio.timeout(timeout):
            await client.connect(await sockets.connect(path))
    except TimeoutError as error:
        raise HypervisorError(
            f"QEMU did not greet on {path} within {timeout:g} s; stop the pod if it stays so"
        ) from error
    except _GONE as error:
        raise HypervisorError(
            f"cannot reach QEMU on {path}: {error}; look whether its machine still runs"
        ) from error
    dropped = asyncio.create_task(client.runstate_changed())
    try:
        yield Session(client, dropped, timeout)
    finally:
        dropped.cancel()
        with contextlib.suppress(*_GONE):
            await client.disconnect()
