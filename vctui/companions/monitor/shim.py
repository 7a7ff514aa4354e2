"""The built-in shim: stands on the host for one process in the guest."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, Protocol

from vctui.companions.monitor.standin import CHUNK, OnEnd, StandIn
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.wire import monitor, ttrpc
from vctui.wire.proto import Message, message

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile

AGENT: Final = "grpc.AgentService"
_INPUT_CHUNK: Final = 32 * 1024


class Agent(Protocol):
    """What a shim needs of the way to the guest's agent."""

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """Raises CallFailed, ConnectionLost."""

    async def ready(self) -> None:
        """Return when the agent answers (again)."""

    async def remembers_ended(self) -> bool:
        """Whether a process that was waited for can still be read from."""


class Shim(StandIn):
    """Reads a process's output, waits for its end, passes input on.

    Only one ReadStdout and one ReadStderr are ever outstanding: an answer to an abandoned one
    would take output with it (kata-agent ttrpc sheet, §10.8). Both must have ended before
    WaitProcess is asked, because an agent forgets the process with its answer. Our own does not:
    there, the end of the process counts, though a child of it may keep the streams open.
    """

    def __init__(
        self,
        start: monitor.StartShim,
        *,
        agent: Agent,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> None:
        super().__init__(start, log=log, replay_bytes=replay_bytes, on_end=on_end)
        self._agent = agent
        self._exec_id = start.token

    @property
    def pid(self) -> int:
        return os.getpid()

    async def write(self, data: bytes) -> None:
        """Waits while the process does not read. Raises CallFailed."""
        for offset in range(0, len(data), _INPUT_CHUNK):
            rest = data[offset : offset + _INPUT_CHUNK]
            while rest:
                answer = await self._ask(
                    "WriteStdin",
                    message("WriteStreamRequest")(
                        container_id=self.start.container_id, exec_id=self._exec_id, data=rest
                    ),
                )
                taken = _taken(answer)
                if not 0 < taken <= len(rest):
                    raise CallFailed(ttrpc.INTERNAL, "the process takes no input")
                rest = rest[taken:]

    async def resize(self, size: monitor.Size) -> None:
        """Raises CallFailed."""
        await self._ask(
            "TtyWinResize",
            message("TtyWinResizeRequest")(
                container_id=self.start.container_id,
                exec_id=self._exec_id,
                row=size.rows,
                column=size.columns,
            ),
        )

    async def close_stdin(self) -> None:
        """Raises CallFailed. Nothing happens to a terminal, which has no end of its input: agents
        of Kata 2.x and 3.x would hang up, and what the process has still to say would be lost."""
        if self.start.terminal:
            return
        await self._ask(
            "CloseStdin",
            message("CloseStdinRequest")(
                container_id=self.start.container_id, exec_id=self._exec_id
            ),
        )

    async def _stand(self) -> monitor.Exit:
        readers = [self._read("ReadStdout", monitor.STDOUT)]
        if not self.start.terminal:
            readers.append(self._read("ReadStderr", monitor.STDERR))
        reading = asyncio.gather(*readers)
        try:
            if self.start.token != self.start.container_id and await self._agent.remembers_ended():
                how = await self._wait()
                await self._read_rest(reading)
            else:  # nothing in a container outlives its first process
                await reading
                how = await self._wait()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return how

    async def _read(self, method: str, stream: int) -> None:
        """Publish one stream until its end: empty data, or (older agents) an error."""
        request = message("ReadStreamRequest")(
            container_id=self.start.container_id, exec_id=self._exec_id, len=CHUNK
        )
        while True:
            try:
                answer = await self._ask_again(method, request)
                data = message("ReadStreamResponse").decode(answer).data
            except (CallFailed, ValueError):
                return
            if not data:
                return
            await self._publish(stream, data)

    async def _wait(self) -> monitor.Exit:
        request = message("WaitProcessRequest")(
            container_id=self.start.container_id, exec_id=self._exec_id
        )
        try:
            answer = await self._ask_again("WaitProcess", request)
            status = message("WaitProcessResponse").decode(answer).status
        except (CallFailed, ValueError) as error:
            return monitor.Exit(None, f"the agent does not say how it ended: {error}")
        return monitor.Exit(status & 0xFF)

    async def _ask(self, method: str, request: Message) -> bytes:
        return await self._agent.call(AGENT, method, request.encode())

    async def _ask_again(self, method: str, request: Message) -> bytes:
        """A call that may be repeated is, after the channel was lost.

        If the channel does not come back the machine has ended, and so does this task.
        """
        while True:
            try:
                return await self._ask(method, request)
            except ConnectionLost:
                await self._agent.ready()


def _taken(answer: bytes) -> int:
    """How much of its input a process took; 0 for an answer that is none."""
    try:
        taken: int = message("WriteStreamResponse").decode(answer).len
    except ValueError:
        return 0
    return taken
