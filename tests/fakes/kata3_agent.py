"""A kata-agent 2.x or 3.x as kata-agent-ttrpc has it, which refuses what a real one refuses, in its
words and with its codes; where a real one panics, there is no answer.

It serves ttrpc on a unix socket, which stands for the guest's vsock port, to any number of clients
at once. Containers are processes of this host.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tests.fakes import kata3_spec
from tests.fakes.kata1_processes import GuestProcess
from tests.fakes.kata3_spec import TRACE, Panicked, Refused
from vctui.linux import sockets
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2 as pb
from vctui.wire.pb import health_pb2, ttrpc_pb2, types_pb2

VERSION = "3.20.0"
MAC = "02:00:00:00:00:01"
SHARE = "/run/kata-containers/shared/containers/"
DRIVERS = {"blk", "scsi", "mmioblk", "nvdimm", "ephemeral", "local", "virtio-fs", "9p", "overlayfs"}
MOST = 1024 * 1024
"""Bytes of a payload."""
Answer = Awaitable[Any]


class Process(GuestProcess):
    """Of an agent that hangs up when the input of a terminal is closed."""

    signals_from = 0

    def hang_up(self) -> None:
        """Whoever reads from the terminal reads its end."""
        self.kill()
        self.close()


class Container:
    def __init__(self, container_id: str, init: Process) -> None:
        self.init = init
        self.status = "created"
        self.processes = {container_id: init}


class Kata3Agent:
    """`async with` runs it.

    Args:
        version: whose ways it has: up to 2.1 (a call that does not exist has the code of a wrong
            argument, input that was closed kills the call), 2.x (new processors are counted), up to
            3.26 (the end of a stream is an error, as is a process that is gone), up to 3.28 (9p).
        answers_last: DestroySandbox is answered before the guest is gone.
        seccomp: it was built with filters.
    """

    def __init__(
        self,
        path: Path,
        *,
        version: str = VERSION,
        answers_last: bool = True,
        seccomp: bool = True,
    ) -> None:
        self.path = path
        self.version = version
        self._release = tuple(int(part) for part in version.split(".")[:2])
        self.calls: list[tuple[str, Any]] = []
        self.sins: list[str] = []
        """What clients have done against the tables of ttrpc."""
        self.connections = 0
        self.sandbox: pb.CreateSandboxRequest | None = None
        self.containers: dict[str, Container] = {}
        self.interfaces = {MAC}
        self.devices = {"lo"}
        """Names of those that were set up."""
        self.cpus = 1
        """In use."""
        self.plugged_cpus = 0
        """There, and not in use yet."""
        self.forbidden: set[str] = set()
        """Methods that the guest's policy forbids."""
        self._answers_last = answers_last
        self._seccomp = seccomp
        self._drivers = DRIVERS if self._release < (3, 29) else DRIVERS - {"9p"}
        self._mount_points: set[str] = set()
        self._tags: set[str] = set()
        """Of folders of the host; a channel of 9p serves one mount."""
        self._reads: set[tuple[str, str, str]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._says_ok = False

    async def __aenter__(self) -> Kata3Agent:
        listening = sockets.listen(self.path)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._power_off()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def called(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    async def _power_off(self) -> None:
        await sockets.stop(self._server)
        self.path.unlink(missing_ok=True)
        for writer in tuple(self._writers):
            writer.close()
        containers, self.containers = self.containers, {}
        for container in containers.values():
            for one in container.processes.values():
                await one.destroy()

    # ttrpc

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._keep(self._converse(reader, writer))

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        decoder, last = ttrpc.Decoder(), -1
        try:
            while chunk := await reader.read(65536):
                for frame in decoder.feed(chunk):
                    if frame.stream_id % 2 == 0 or frame.stream_id <= last:
                        self.sins.append(f"stream {frame.stream_id} after {last}")
                    if frame.type != ttrpc.REQUEST or frame.flags or frame.oversized:
                        self.sins.append(f"a frame {frame!r}")
                        continue
                    last = frame.stream_id
                    self._keep(self._answer(frame, writer))
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, frame: ttrpc.Frame, writer: asyncio.StreamWriter) -> None:
        response = ttrpc_pb2.Response()
        method = ""
        try:
            envelope = ttrpc_pb2.Request.FromString(frame.data)
            method = envelope.method
            if len(envelope.payload) > MOST:
                self.sins.append(f"{method} with {len(envelope.payload)} bytes")
            async with asyncio.timeout(envelope.timeout_nano / 1e9 or None):
                answer = await self._call(envelope)
            response.payload = b"" if answer is None else answer.SerializeToString()
            self._says_ok = not self._says_ok  # either is a success
            if self._says_ok:
                response.status.SetInParent()
        except Refused as refused:
            response.status.code, response.status.message = refused.code, str(refused)
        except Panicked:
            return
        except EOFError:
            if self._release < (3, 27):
                response.status.code = ttrpc.INTERNAL
                response.status.message = f'"read meet eof"{TRACE}'
        except TimeoutError:
            response.status.code = ttrpc.DEADLINE_EXCEEDED
        except OSError as error:
            response.status.code, response.status.message = ttrpc.INTERNAL, str(error)
        if method != "DestroySandbox" or self._answers_last:
            body = response.SerializeToString()
            if not writer.is_closing():
                writer.write(ttrpc.encode(frame.stream_id, ttrpc.RESPONSE, body))
        if method == "DestroySandbox":
            await self._power_off()

    async def _call(self, envelope: ttrpc_pb2.Request) -> Any:
        kind, handler = self._table().get(envelope.method, (None, None))
        unknown = envelope.service not in {"grpc.AgentService", "grpc.Health"}
        if self._release < (2, 2) and (unknown or kind is None):
            path = f"/{envelope.service}/{envelope.method}"
            raise Refused(ttrpc.INVALID_ARGUMENT, f"{path} does not exist")
        if unknown:
            raise Refused(ttrpc.INVALID_ARGUMENT, f"{envelope.service} service does not exist")
        if kind is None or handler is None:
            raise Refused(ttrpc.UNIMPLEMENTED, f"{envelope.method} method")
        try:
            request = kind.FromString(envelope.payload)
        except DecodeError as error:
            raise Refused(ttrpc.INVALID_ARGUMENT, str(error)) from error
        if where := _unknown(request):
            raise Refused(ttrpc.INVALID_ARGUMENT, f"{where} has a field of another kind")
        self.calls.append((envelope.method, request))
        if envelope.method in self.forbidden:
            raise Refused(ttrpc.PERMISSION_DENIED, f'"{envelope.method} is blocked by policy"')
        return await handler(request)

    def _table(self) -> dict[str, tuple[Any, Callable[[Any], Answer]]]:
        return {
            "Check": (health_pb2.CheckRequest, self._check),
            "Version": (health_pb2.CheckRequest, self._version),
            "CreateSandbox": (pb.CreateSandboxRequest, self._create_sandbox),
            "DestroySandbox": (pb.DestroySandboxRequest, self._nothing),
            "UpdateInterface": (pb.UpdateInterfaceRequest, self._update_interface),
            "UpdateRoutes": (pb.UpdateRoutesRequest, self._update_routes),
            "AddARPNeighbors": (pb.AddARPNeighborsRequest, self._nothing),
            "CreateContainer": (pb.CreateContainerRequest, self._create),
            "StartContainer": (pb.StartContainerRequest, self._start),
            "RemoveContainer": (pb.RemoveContainerRequest, self._remove),
            "ExecProcess": (pb.ExecProcessRequest, self._exec),
            "SignalProcess": (pb.SignalProcessRequest, self._signal),
            "WaitProcess": (pb.WaitProcessRequest, self._wait),
            "StatsContainer": (pb.StatsContainerRequest, self._stats),
            "WriteStdin": (pb.WriteStreamRequest, self._write),
            "ReadStdout": (pb.ReadStreamRequest, self._read_stdout),
            "ReadStderr": (pb.ReadStreamRequest, self._read_stderr),
            "CloseStdin": (pb.CloseStdinRequest, self._close_stdin),
            "TtyWinResize": (pb.TtyWinResizeRequest, self._resize),
            "OnlineCPUMem": (pb.OnlineCPUMemRequest, self._online),
            "ReseedRandomDev": (pb.ReseedRandomDevRequest, self._nothing),
            "GetGuestDetails": (pb.GuestDetailsRequest, self._details),
            "SetGuestDateTime": (pb.SetGuestDateTimeRequest, self._nothing),
        }

    # calls

    async def _nothing(self, _request: Any) -> Any:
        """The host's own is left alone."""

    async def _check(self, _request: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def _version(self, _request: Any) -> Any:
        return health_pb2.VersionCheckResponse(grpc_version="0.0.1", agent_version=self.version)

    async def _details(self, _request: Any) -> Any:
        details = pb.AgentDetails(
            version=self.version,
            init_daemon=True,
            storage_handlers=sorted(self._drivers),
            supports_seccomp=self._seccomp,
        )
        return pb.GuestDetailsResponse(agent_details=details)

    async def _create_sandbox(self, request: pb.CreateSandboxRequest) -> Any:
        self._tags.clear()
        self._mount_points.clear()  # all below /run/kata-containers is made anew
        self._mount(request.storages)
        self.sandbox = request

    def _mount(self, storages: Any) -> None:
        for storage in storages:
            if storage.driver not in self._drivers:
                raise Refused(
                    ttrpc.INTERNAL, f"Failed to find the storage handler {storage.driver}"
                )
            if not (storage.source and storage.mount_point and storage.fstype):
                raise Refused(ttrpc.INTERNAL, "need mount source, destination and type")
            if storage.driver == "virtio-fs" and storage.fstype != "virtiofs":
                raise Refused(ttrpc.INTERNAL, "ENODEV: No such device")
            if storage.driver == "blk" and not kata3_spec.is_disk(storage.source):
                raise Refused(ttrpc.INTERNAL, f"{storage.source}: not a PCI path")
            if storage.driver == "9p" and storage.source in self._tags:
                raise Refused(ttrpc.INTERNAL, f"EBUSY: Device or resource busy {storage.source}")
            self._tags.add(storage.source)
            self._mount_points.add(storage.mount_point.rstrip("/"))

    async def _update_interface(self, request: Any) -> Any:
        given = request.interface
        if given.hwAddr not in self.interfaces:
            raise Refused(ttrpc.INTERNAL, f"Link not found (Address: {given.hwAddr})")
        kata3_spec.check_interface(given)
        self.devices.add(given.name)
        return types_pb2.Interface(device=given.device)

    async def _update_routes(self, request: Any) -> Any:
        if not request.HasField("routes"):
            raise Refused(ttrpc.INVALID_ARGUMENT, "empty update routes request")
        for route in request.routes.Routes:
            kata3_spec.check_route(route, self.devices)
        return request.routes

    async def _create(self, request: pb.CreateContainerRequest) -> Any:
        container_id, spec = request.container_id, request.OCI
        if container_id in self.containers:
            raise Refused(ttrpc.INTERNAL, f"container {container_id} already exists{TRACE}")
        kata3_spec.check_container(request)
        self.sins += kata3_spec.sins_of_filter(spec.linux, self._seccomp)
        self.sins += kata3_spec.sins_of_user(spec.process, request.string_user)
        self._mount(request.storages)
        root = spec.root.Path
        if not any(root.startswith(f"{point}/") for point in self._mount_points):
            raise Refused(ttrpc.INTERNAL, f"ENOENT: No such file or directory: {root}")
        kata3_spec.find(spec.process)
        self.containers[container_id] = Container(container_id, Process(spec.process))

    async def _start(self, request: Any) -> Any:
        container = self._container(request.container_id, ttrpc.INTERNAL)
        if container.status != "created":
            raise Refused(ttrpc.INTERNAL, "ENOENT: No such file or directory")  # its exec.fifo
        self._run(container.init)
        container.status = "running"

    def _run(self, process: Process) -> None:
        try:
            process.start()
        except BaseException:
            process.close()
            raise

    async def _exec(self, request: pb.ExecProcessRequest) -> Any:
        container = self._container(request.container_id, ttrpc.INTERNAL)
        if not request.HasField("process"):
            raise Refused(ttrpc.INVALID_ARGUMENT, "unable to parse process from ExecProcessRequest")
        kata3_spec.check_process(request.process)
        self.sins += kata3_spec.sins_of_user(request.process, request.string_user)
        kata3_spec.find(request.process)
        process = Process(request.process)
        self._run(process)
        container.processes[request.exec_id] = process

    async def _signal(self, request: pb.SignalProcessRequest) -> Any:
        container = self._container(request.container_id, ttrpc.INTERNAL)
        if self._release < (2, 2) and request.signal > signal.SIGSYS:
            raise Panicked("EINVAL")
        everyone = not request.exec_id and request.signal == signal.SIGKILL
        chosen = container.processes.values() if everyone else (self._process(request),)
        for one in tuple(chosen):
            try:
                one.signal(request.signal, is_init=one is container.init)
            except ProcessLookupError:
                continue

    async def _wait(self, request: pb.WaitProcessRequest) -> Any:
        process = self._process(request)
        container = self.containers[request.container_id]
        status = await asyncio.shield(process.status)
        exec_id = request.exec_id or request.container_id
        if any(key[:2] == (request.container_id, exec_id) for key in self._reads):
            self.sins.append("WaitProcess before the end of the output, which is lost now")
        if process is container.init:
            for other in container.processes.values():
                other.kill()
        if container.processes.pop(exec_id, None) is not None:
            process.close()
        return pb.WaitProcessResponse(status=status)

    async def _stats(self, request: Any) -> Any:
        self._container(request.container_id)
        cpu = pb.CpuStats(cpu_usage=pb.CpuUsage(total_usage=7))
        return pb.StatsContainerResponse(cgroup_stats=pb.CgroupStats(cpu_stats=cpu))

    async def _write(self, request: pb.WriteStreamRequest) -> Any:
        """All of it, and what is empty is the end of the input."""
        process, data = self._process(request), request.data
        if not data:
            self._end_input(process)
        while data:
            if not (taken := await process.write(data)):
                if self._release < (2, 2):
                    raise Panicked("called `Option::unwrap()` on a `None` value")
                raise Refused(ttrpc.INTERNAL, f"Cannot get writer{TRACE}")
            data = data[taken:]
        return pb.WriteStreamResponse(len=len(request.data))

    async def _read_stdout(self, request: pb.ReadStreamRequest) -> Any:
        return await self._read(request, "stdout")

    async def _read_stderr(self, request: pb.ReadStreamRequest) -> Any:
        return await self._read(request, "stderr")

    async def _read(self, request: pb.ReadStreamRequest, stream: str) -> Any:
        process = self._process(request)
        key = (request.container_id, request.exec_id or request.container_id, stream)
        if key in self._reads:
            self.sins.append(f"two reads of {key} at once")
        self._reads.add(key)
        try:
            data = await process.read(getattr(process, stream), request.len)
        finally:
            self._reads.discard(key)
        return pb.ReadStreamResponse(data=data)

    async def _close_stdin(self, request: Any) -> Any:
        self._end_input(self._process(request))

    def _end_input(self, process: Process) -> None:
        if process.spec.Terminal:
            process.hang_up()
        else:
            process.close_stdin()

    async def _resize(self, request: pb.TtyWinResizeRequest) -> Any:
        process = self._process(request)
        if not process.spec.Terminal:
            raise Refused(ttrpc.UNAVAILABLE, "no tty")
        process.resize(request.row, request.column)

    async def _remove(self, request: Any) -> Any:
        self._container(request.container_id, ttrpc.INTERNAL)
        container = self.containers.pop(request.container_id)
        for one in container.processes.values():
            await one.destroy()

    async def _online(self, request: pb.OnlineCPUMemRequest) -> Any:
        old = self._release < (3, 0)
        wanted = request.nb_cpus + (self.cpus if old else 0)
        there = self.cpus + self.plugged_cpus
        if request.nb_cpus and wanted > there:
            self.cpus, self.plugged_cpus = there, 0
            raise Refused(ttrpc.INTERNAL, f"failed to online {request.nb_cpus} CPU(s)")
        more = max(0, wanted - self.cpus) if request.nb_cpus else 0
        self.cpus, self.plugged_cpus = self.cpus + more, self.plugged_cpus - more

    def _container(self, container_id: str, code: int = ttrpc.INVALID_ARGUMENT) -> Container:
        if container_id not in self.containers:
            words = "Invalid" if code == ttrpc.INTERNAL else "invalid"
            raise Refused(code, f"{words} container id")
        return self.containers[container_id]

    def _process(self, request: Any) -> Process:
        old = self._release < (3, 27)
        code = ttrpc.INTERNAL if old else ttrpc.INVALID_ARGUMENT
        container = self._container(request.container_id, code)
        found = container.processes.get(request.exec_id or request.container_id)
        if found is None:
            words = "Invalid exec id" if request.exec_id else "cannot find init process!"
            code = ttrpc.INTERNAL if old else ttrpc.NOT_FOUND
            raise Refused(code, f"{words}{TRACE}" if old else words)
        return found


def _unknown(message: Message) -> str:
    """The first message that has a field which this API does not know, as it was sent."""
    if len(UnknownFieldSet(message)):
        return message.DESCRIPTOR.name
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        several = not isinstance(value, Message)
        for one in value if several else (value,):
            if where := _unknown(one):
                return where
    return ""
