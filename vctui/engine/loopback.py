"""Connections to services that listen on a pod's loopback device only: containers share the guest's
network, so a process in one of them gets there, and its input and output are the connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from vctui.engine import streams
from vctui.errors import CommandFailed, NetworkError, VctuiError
from vctui.linux import relay
from vctui.model.container import Cmd
from vctui.model.kinds import AgentType
from vctui.model.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vctui.drivers.shims.base import Attachment
    from vctui.engine.context import Context
    from vctui.model.pod import PodRecord

_SCRIPT: Final = """\
command -v nc >/dev/null || exit 127
port=$(printf %04X "$1") at=
for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r $table ] && while read -r _ place _ state _; do
        case "$state $place" in
            "0A 0100007F:$port" | "0A 00000000:$port") at=127.0.0.1 ;;
            "0A 0000000000000000FFFF00000100007F:$port") at=127.0.0.1 ;;
            "0A 00000000000000000000000001000000:$port") at=::1 ;;
            "0A 00000000000000000000000000000000:$port") at=::1 ;;
        esac
    done <$table
done
[ "$at" ] || exit 3
case $(nc -h 2>&1) in *-N[[:space:]]*) half=-N ;; *) half= ;; esac
echo
exec nc $half $at "$1"
"""
"""Says an empty line once it has found who listens: what follows is the service's. OpenBSD's nc
passes the end of its input on only if it is asked to."""
_NOBODY: Final = 3
_CANNOT_RUN: Final = frozenset({126, 127})
_REMEDY: Final = "let the service listen on an address of the pod that the host reaches"
_CHUNK: Final = 64 * 1024
_MAX_CONNECTIONS: Final = 50
"""At once; each takes a process of the guest's memory."""


class Loopback:
    """The loopback device of a pod."""

    def __init__(self, ctx: Context, pod_id: str) -> None:
        self._ctx = ctx
        self._pod_id = pod_id
        self._through = ""
        """The container that had all that it needs."""
        self._connections = 0

    async def carry(self, client: relay.Connection, port: int) -> None:
        """Carry a connection to a port until the service has ended it, or one side has broken. A
        client whose connection came to no orderly end finds it broken.

        Raises:
            NetworkError: nobody listens there, no container gets there, or too many connections
                are carried. The client is left as it was.
        """
        if self._connections >= _MAX_CONNECTIONS:
            raise NetworkError(
                f"{_MAX_CONNECTIONS} connections to the loopback device of pod {self._pod_id!r} "
                "are open; another one was refused"
            )
        self._connections += 1
        try:
            async with self._reach(port) as service:
                await service.converse(client)
        finally:
            self._connections -= 1
        if service.attachment.exit_code == 0:
            await relay.close(client[1])
        else:
            relay.reset(client[1])

    @contextlib.asynccontextmanager
    async def _reach(self, port: int) -> AsyncIterator[_Service]:
        record = self._ctx.store.pod(self._pod_id)
        nobody = (
            f"the host gets to nobody on port {port} of pod {self._pod_id!r}, and not to its "
            "loopback device"
        )
        if record.config.agent_type is AgentType.HYPERSTART:
            raise NetworkError(
                f"{nobody}, as the agent hyperstart drops input that a process does not read at "
                f"once; {_REMEDY}"
            )
        for container_id in self._candidates(record):
            cmd = Cmd(args=("/bin/sh", "-c", _SCRIPT, "sh", str(port)), work_dir="/", stdin=True)
            async with contextlib.AsyncExitStack() as stack:
                try:
                    attachment = await stack.enter_async_context(
                        streams.errand(self._ctx, self._pod_id, container_id, cmd)
                    )
                except CommandFailed:
                    continue
                except VctuiError as error:
                    raise NetworkError(f"{nobody}: {error}") from error
                service = _Service(attachment)
                if await service.answers(self._ctx.settings.timeouts.agent):
                    self._through = container_id
                    yield service
                    return
            if attachment.exit_code == _NOBODY:
                raise NetworkError(
                    f"nobody in pod {self._pod_id!r} listens on port {port}; start the service"
                )
            if attachment.exit_code not in _CANNOT_RUN:
                why = attachment.reason or f"exit status {attachment.exit_code}, no answer"
                raise NetworkError(
                    f"port {port} of pod {self._pod_id!r} is out of reach, as the process that was "
                    f"to get there is gone ({why}); try again"
                )
        raise NetworkError(
            f"{nobody}, as no container that runs there has the programs sh and nc; {_REMEDY}, or "
            "add such a container"
        )

    def _candidates(self, record: PodRecord) -> list[str]:
        running = [one.id for one in record.containers if one.state is State.RUNNING]
        return sorted(running, key=lambda one: one != self._through)


class _Service:
    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self._output = aiter(attachment)
        self._first = b""

    async def answers(self, patience: float) -> bool:
        """Whether the process has found the service; it has ended otherwise, or says nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                async for piece in self._output:
                    if piece.stream == 1:
                        self._first = piece.data[1:]
                        return True
        return False

    async def converse(self, client: relay.Connection) -> None:
        """Return when the service has ended the connection, or the client has broken it."""
        receiving = asyncio.create_task(self._receive(client[1]))
        sending = asyncio.create_task(self._send(client[0]))
        ways = (receiving, sending)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and sending.exception() is None:
                await asyncio.wait((receiving,))
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _send(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            await self.attachment.write(data)
        await self.attachment.close_stdin()

    async def _receive(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self._first)
        async for piece in self._output:
            if piece.stream == 1:
                writer.write(piece.data)
                await writer.drain()
