"""A scripted guest agent: the Kata agent's protocol over ttrpc on a unix socket.

It stands where QEMU's chardev stands: one client at a time, the next waits. Tests say what its
processes print, when they end, and what nonsense it sends in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from vctui.linux import sockets
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2, guest_pb2, health_pb2, ttrpc_pb2

AGENT = "grpc.AgentService"
Key = tuple[str, str]


class Refusal(Exception):
    """Raised by a handler: answered as an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class FakeProcess:
    """A process in the guest. Both output streams block until there is data or their end."""

    def __init__(self) -> None:
        self.output: dict[str, bytearray] = {"ReadStdout": bytearray(), "ReadStderr": bytearray()}
        self.stdin = bytearray()
        self.stdin_closed = False
        self.size: tuple[int, int] | None = None
        self.signals: list[int] = []
        self.status: int | None = None
        self.outlived = False
        """A child holds its output open when it has ended."""
        self.reads_in_flight = {"ReadStdout": 0, "ReadStderr": 0}
        self.most_reads_in_flight = 0
        self.takes_input = asyncio.Event()
        self.takes_input.set()
        self._changed = asyncio.Condition()

    async def print(self, data: bytes, *, stderr: bool = False) -> None:
        async with self._changed:
            self.output["ReadStderr" if stderr else "ReadStdout"] += data
            self._changed.notify_all()

    async def end(self, status: int) -> None:
        async with self._changed:
            self.status = status
            self._changed.notify_all()

    async def changed(self) -> None:
        """Wake whoever waits on the process for something else than output or its end."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def read(self, method: str, length: int) -> bytes:
        self.reads_in_flight[method] += 1
        self.most_reads_in_flight = max(self.most_reads_in_flight, self.reads_in_flight[method])
        waiting = self.output[method]
        try:
            await self.until(
                lambda: bool(waiting) or (self.status is not None and not self.outlived)
            )
            data = bytes(waiting[:length])
            del waiting[:length]
            await self.changed()
            return data
        finally:
            self.reads_in_flight[method] -= 1


Handler = Callable[[bytes], Awaitable[bytes]]


class FakeAgent:
    """Serves `path`; `async with` starts and stops it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.processes: dict[Key, FakeProcess] = {}
        self.calls: list[tuple[str, ttrpc_pb2.Request]] = []
        self.connections = 0
        self.eof_is_an_error = False
        """As agents before 3.27 have it."""
        self.silent: set[str] = set()
        """Methods that are never answered."""
        self.features = ["list-processes"]
        self.greeting = b""
        """What the next client receives first."""
        self.handlers: dict[str, Handler] = {
            "Check": self._check,
            "Version": self._version,
            "GetGuestDetails": self._details,
            "CreateContainer": self._create,
            "ExecProcess": self._exec,
            "ReadStdout": lambda body: self._read("ReadStdout", body),
            "ReadStderr": lambda body: self._read("ReadStderr", body),
            "WriteStdin": self._write,
            "CloseStdin": self._close_stdin,
            "TtyWinResize": self._resize,
            "WaitProcess": self._wait,
            "SignalProcess": self._signal,
            "StatsContainer": self._stats,
            "ListProcesses": self._list,
        }
        self._writer: asyncio.StreamWriter | None = None
        self._serving: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._idle = asyncio.Event()
        self._called = asyncio.Condition()

    async def __aenter__(self) -> FakeAgent:
        self._listening = sockets.listen(self.path)
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._serving is not None
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._listening.close()

    # what tests do

    def process(self, container_id: str, exec_id: str = "") -> FakeProcess:
        """One that exists; it is made on first mention."""
        return self.processes.setdefault((container_id, exec_id), FakeProcess())

    def send_raw(self, data: bytes) -> None:
        """Bytes of any kind to whoever is connected."""
        assert self._writer is not None
        self._writer.write(data)

    def drop(self) -> None:
        """End the connection in the middle of whatever it carries."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def connected(self) -> None:
        await self._connected.wait()

    async def disconnected(self) -> None:
        """Return when the agent knows that its client has gone."""
        await self._idle.wait()

    async def until_called(self, method: str, times: int = 1) -> list[ttrpc_pb2.Request]:
        """Return when `method` was called at least so often."""

        def requests() -> list[ttrpc_pb2.Request]:
            return [request for name, request in self.calls if name == method]

        async with self._called:
            await self._called.wait_for(lambda: len(requests()) >= times)
        return requests()

    # serving

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._listening)
            accepted.setblocking(False)
            reader, self._writer = await asyncio.open_unix_connection(sock=accepted)
            self.connections += 1
            self._connected.set()
            self._idle.clear()
            self._writer.write(self.greeting)
            self.greeting = b""
            answering: set[asyncio.Task[None]] = set()
            try:
                await self._converse(reader, self._writer, answering)
            except ConnectionError:
                pass
            finally:
                self._connected.clear()
                for task in answering:
                    task.cancel()
                await asyncio.gather(*answering, return_exceptions=True)
                self._idle.set()
                self._writer.close()
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answering: set[asyncio.Task[None]],
    ) -> None:
        decoder = ttrpc.Decoder()
        while chunk := await reader.read(65536):
            for frame in decoder.feed(chunk):
                task = asyncio.create_task(self._answer(frame, writer))
                answering.add(task)
                task.add_done_callback(answering.discard)

    async def _answer(self, frame: ttrpc.Frame, writer: asyncio.StreamWriter) -> None:
        request = ttrpc_pb2.Request.FromString(frame.data)
        async with self._called:
            self.calls.append((request.method, request))
            self._called.notify_all()
        if request.method in self.silent:
            return
        response = ttrpc_pb2.Response()
        try:
            handler = self.handlers.get(request.method)
            if handler is None:
                if request.service != AGENT:
                    raise Refusal(ttrpc.UNIMPLEMENTED, f"no method {request.method}")
                response.payload = b""
            else:
                response.payload = await handler(request.payload)
        except Refusal as refusal:
            response.status.code = refusal.code
            response.status.message = str(refusal)
        writer.write(ttrpc.encode(frame.stream_id, ttrpc.RESPONSE, response.SerializeToString()))
        await writer.drain()

    # methods

    def _find(self, container_id: str, exec_id: str) -> FakeProcess:
        key = (container_id, "" if exec_id == container_id else exec_id)
        if key not in self.processes:
            raise Refusal(ttrpc.INVALID_ARGUMENT, f"no process {exec_id!r}")
        return self.processes[key]

    async def _check(self, _body: bytes) -> bytes:
        return health_pb2.HealthCheckResponse(
            status=health_pb2.HealthCheckResponse.SERVING
        ).SerializeToString()

    async def _version(self, _body: bytes) -> bytes:
        return health_pb2.VersionCheckResponse(agent_version="fake\x1b[31m 1").SerializeToString()

    async def _details(self, _body: bytes) -> bytes:
        details = agent_pb2.AgentDetails(extra_features=self.features)
        return agent_pb2.GuestDetailsResponse(agent_details=details).SerializeToString()

    async def _create(self, body: bytes) -> bytes:
        self.process(agent_pb2.CreateContainerRequest.FromString(body).container_id)
        return b""

    async def _exec(self, body: bytes) -> bytes:
        request = agent_pb2.ExecProcessRequest.FromString(body)
        self.process(request.container_id, request.exec_id)
        return b""

    async def _read(self, method: str, body: bytes) -> bytes:
        request = agent_pb2.ReadStreamRequest.FromString(body)
        process = self._find(request.container_id, request.exec_id)
        data = await process.read(method, request.len)
        if not data and self.eof_is_an_error:
            raise Refusal(ttrpc.INTERNAL, "read meet eof")
        return agent_pb2.ReadStreamResponse(data=data).SerializeToString()

    async def _write(self, body: bytes) -> bytes:
        request = agent_pb2.WriteStreamRequest.FromString(body)
        process = self._find(request.container_id, request.exec_id)
        await process.takes_input.wait()
        taken = request.data[: max(1, len(request.data) // 2)]  # pipes take what they can
        process.stdin += taken
        await process.changed()
        return agent_pb2.WriteStreamResponse(len=len(taken)).SerializeToString()

    async def _close_stdin(self, body: bytes) -> bytes:
        request = agent_pb2.CloseStdinRequest.FromString(body)
        process = self._find(request.container_id, request.exec_id)
        process.stdin_closed = True
        await process.changed()
        return b""

    async def _resize(self, body: bytes) -> bytes:
        request = agent_pb2.TtyWinResizeRequest.FromString(body)
        process = self._find(request.container_id, request.exec_id)
        process.size = (request.row, request.column)
        await process.changed()
        return b""

    async def _wait(self, body: bytes) -> bytes:
        request = agent_pb2.WaitProcessRequest.FromString(body)
        process = self._find(request.container_id, request.exec_id)
        await process.until(lambda: process.status is not None)
        return agent_pb2.WaitProcessResponse(status=process.status).SerializeToString()

    async def _signal(self, body: bytes) -> bytes:
        request = agent_pb2.SignalProcessRequest.FromString(body)
        process = self._find(request.container_id, request.exec_id)
        process.signals.append(request.signal)
        return b""

    async def _stats(self, body: bytes) -> bytes:
        request = agent_pb2.StatsContainerRequest.FromString(body)
        self._find(request.container_id, "")
        stats = agent_pb2.StatsContainerResponse()
        stats.cgroup_stats.cpu_stats.cpu_usage.total_usage = 2**64 - 1
        stats.cgroup_stats.memory_stats.usage.usage = 4096
        stats.cgroup_stats.pids_stats.current = 2
        return stats.SerializeToString()

    async def _list(self, body: bytes) -> bytes:
        request = guest_pb2.ListProcessesRequest.FromString(body)
        said = f"{request.container_id} {request.format} {' '.join(request.args)}"
        return guest_pb2.ListProcessesResponse(process_list=said.encode()).SerializeToString()
