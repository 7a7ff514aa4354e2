"""The built-in shim: our monitor stands for the processes, this is the way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from vctui.drivers import monitor_client
from vctui.drivers.shims.base import Attachment, Output, Shim, ShimParams
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Session, Stream
from vctui.errors import FileProblem, MonitorError, NotFound
from vctui.model.container import Process
from vctui.wire import monitor, ttrpc

_ANSWER: Final = 15.0
"""Seconds for what the monitor does without asking the guest."""
_INPUT_CHUNK: Final = 64 * 1024


class BuiltinShim(Shim):
    async def start(self, run_dir: Path, params: ShimParams) -> Process:
        wanted = monitor.StartShim(
            container_id=params.container_id,
            token=params.token,
            terminal=params.terminal,
            log=params.log,
            console=params.console,
        )
        async with monitor_client.connected(run_dir) as session:
            try:
                hello = await monitor_client.call(
                    session, run_dir, "StartShim", wanted, monitor.Hello, timeout=_ANSWER
                )
            except CallFailed as error:
                if error.code == ttrpc.FAILED_PRECONDITION and params.console:
                    raise FileProblem(error.message) from error
                raise monitor_client.refused(run_dir, error) from error
        return Process(token=params.token, pid=hello.pid, start_time=datetime.now(UTC))

    async def wait(self, run_dir: Path, token: str) -> int | None:
        async with monitor_client.connected(run_dir) as session:
            try:
                ended = await monitor_client.call(
                    session,
                    run_dir,
                    "WaitExit",
                    monitor.WaitExit(token=token),
                    monitor.Exit,
                    timeout=None,
                )
            except CallFailed as error:
                if monitor_client.is_not_found(error):  # it ended under an earlier monitor
                    return None
                raise monitor_client.refused(run_dir, error) from error
        return ended.exit_code

    async def attach(
        self, run_dir: Path, token: str, *, replay: int = 0, rows: int = 0, columns: int = 0
    ) -> Attachment:
        wanted = monitor.Attach(token=token, replay=replay, rows=rows, columns=columns)
        return await _join(run_dir, "Attach", wanted)

    async def console(self, run_dir: Path, *, replay: int = 0) -> Attachment:
        return await _join(run_dir, "Console", monitor.Console(replay=replay))


async def _join(run_dir: Path, method: str, wanted: msgspec.Struct) -> MonitorAttachment:
    """Raises NotFound, MonitorError."""
    session = await monitor_client.connect(run_dir)
    try:
        stream = session.stream(monitor.SERVICE, method, msgspec.json.encode(wanted))
        if await stream.receive() is None:  # the first frame says that we are attached
            raise MonitorError(f"the monitor of pod {run_dir.name!r} closed the stream; try again")
    except BaseException as error:
        await session.close()
        if isinstance(error, ConnectionLost):
            raise monitor_client.gone(run_dir) from error
        if isinstance(error, CallFailed):
            if monitor_client.is_not_found(error):
                raise NotFound(
                    f"{error.message} in pod {run_dir.name!r}; list what runs"
                ) from error
            raise monitor_client.refused(run_dir, error) from error
        raise
    return MonitorAttachment(session, stream)


class MonitorAttachment(Attachment):
    """A connection of its own, so that input which a process does not read holds nothing up."""

    def __init__(self, session: Session, stream: Stream) -> None:
        self._session = session
        self._stream = stream
        self._left = False

    async def __aiter__(self) -> AsyncIterator[Output]:
        try:
            while (body := await self._stream.receive()) is not None:
                channel, payload = monitor.split(body)
                if channel in {monitor.STDOUT, monitor.STDERR}:
                    if payload:
                        yield Output(stream=channel, data=payload)
                elif channel == monitor.EXIT:
                    ended = msgspec.json.decode(payload, type=monitor.Exit)
                    self.exit_code, self.reason = ended.exit_code, ended.reason
        except CallFailed as error:
            self.reason = f"the pod's monitor went away: {error.message}"
        finally:
            await self.detach()

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _INPUT_CHUNK):
            await self._send(monitor.STDIN, data[start : start + _INPUT_CHUNK])

    async def resize(self, rows: int, columns: int) -> None:
        await self._send(monitor.RESIZE, msgspec.json.encode(monitor.Size(rows, columns)))

    async def close_stdin(self) -> None:
        await self._send(monitor.CLOSE_STDIN)

    async def detach(self) -> None:
        if self._left:
            return
        self._left = True
        self._stream.end()
        await self._session.close()

    async def _send(self, channel: int, payload: bytes = b"") -> None:
        if not self._left:
            await self._stream.send(monitor.data(channel, payload))
