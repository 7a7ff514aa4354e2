"""Logs, consoles and attached processes, carried from the engine's thread to the screen's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vctui.drivers.shims.base import Attachment, Output
from vctui.errors import VctuiError
from vctui.tui.channel import Channel

if TYPE_CHECKING:
    from vctui.model.logs import LogLine

T = TypeVar("T")

LOG_LINES: Final = 2000
"""Lines of a log that wait for the screen."""
OUTPUTS: Final = 16
"""Pieces of output that wait for the screen."""

Submit = Callable[[Coroutine[Any, Any, Any]], "asyncio.Future[Any]"]
"""Runs a coroutine in the engine's loop; the future belongs to the screen's."""


@asynccontextmanager
async def closing(source: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Ends `source` with the block, where it can be ended: what it holds is let go at once."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


class LogStream:
    """Lines of one log. Iterate `batches` in the screen's loop, `stop` when done."""

    def __init__(self) -> None:
        self._channel: Channel[LogLine] = Channel(LOG_LINES)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def batches(self) -> AsyncIterator[list[LogLine]]:
        """Ends with the log; raises what the engine raised."""
        return self._channel.batches()

    def stop(self) -> None:
        """Idempotent."""
        self._stopped = True
        self._channel.stop()
        if (task := self._task) is not None and not task.done():
            with suppress(RuntimeError):  # the engine's loop is gone, and the task with it
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def pump(self, lines: AsyncIterator[LogLine]) -> None:
        """Carry `lines` over. Runs in the engine's loop."""
        self._task = asyncio.current_task()
        failed: BaseException | None = None
        try:
            async with closing(lines):
                async for line in lines:
                    if not await self._channel.put(line):
                        break
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        except Exception as error:
            failed = error
        finally:
            self._channel.close(failed)


class BridgedAttachment(Attachment):
    """An Attachment of the engine's loop, usable in the screen's."""

    def __init__(self, inner: Attachment, submit: Submit) -> None:
        self._inner = inner
        self._submit = submit
        self._channel: Channel[Output] = Channel(OUTPUTS)

    async def pump(self) -> None:
        """Carry the output over. Runs in the engine's loop."""
        failed: BaseException | None = None
        try:
            async for output in self._inner:
                if not await self._channel.put(output):
                    break
            self.exit_code, self.reason = self._inner.exit_code, self._inner.reason
        except VctuiError as error:
            self.reason = error.message
        except Exception as error:
            failed = error
        finally:
            self._channel.close(failed)
            await self._inner.detach()

    async def __aiter__(self) -> AsyncIterator[Output]:
        async for batch in self._channel.batches():
            for output in batch:
                yield output

    def _do(self, work: Coroutine[Any, Any, None]) -> Awaitable[None]:
        return self._submit(work)

    async def write(self, data: bytes) -> None:
        await self._do(self._inner.write(data))

    async def resize(self, rows: int, columns: int) -> None:
        await self._do(self._inner.resize(rows, columns))

    async def close_stdin(self) -> None:
        await self._do(self._inner.close_stdin())

    async def detach(self) -> None:
        self._channel.stop()
        await self._do(self._inner.detach())


class WithoutTerminal(Attachment):
    """A process that has no terminal, made fit for one: nobody in the guest turns its line
    feeds into new lines, nor the Return key into a line feed."""

    def __init__(self, inner: Attachment) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[Output]:
        async for output in self._inner:
            data = output.data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            yield Output(stream=output.stream, data=data)
        self.exit_code, self.reason = self._inner.exit_code, self._inner.reason

    async def write(self, data: bytes) -> None:
        await self._inner.write(data.replace(b"\r", b"\n"))

    async def resize(self, rows: int, columns: int) -> None:
        """There is nothing to resize."""

    async def close_stdin(self) -> None:
        await self._inner.close_stdin()

    async def detach(self) -> None:
        await self._inner.detach()
