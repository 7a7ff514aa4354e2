"""A kata-agent 1.x as kata-agent-grpc has it, which refuses what a real one refuses.

gRPC is grpcio's server, yamux a server half written for tests (yamux_server), containers are
processes of this host. It shares nothing with vctui's own guest but the generated messages.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tests.fakes.kata1_processes import GuestProcess
from tests.fakes.yamux_server import YamuxServer
from vctui.linux import sockets
from vctui.wire.pb import agent_pb2, guest_pb2, health_pb2, oci_pb2, types_pb2

VERSION = "1.13.0-alpha0"
SHARE = "/run/kata-containers/shared/containers/"
DRIVERS = {"9p", "virtio-fs", "blk", "mmioblk", "scsi", "nvdimm", "ephemeral", "local"}
NINE_P = {"9p", "virtio-fs"}
SYSFS, MAC = "/sys", "02:00:00:00:00:01"
Code = grpc.StatusCode
Answer = Awaitable[Any]


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Container:
    def __init__(self, init: GuestProcess, spec: oci_pb2.Spec, init_id: str) -> None:
        self.spec = spec
        self.init = init
        self.status = "created"
        self.processes = {init_id: init}

    @property
    def is_stopped(self) -> bool:
        return self.init.status.done()

    def check_removable(self) -> None:
        if self.status == "running" and not self.is_stopped:
            raise Refused(Code.UNKNOWN, "container is not destroyed")


class Kata1Agent:
    """Serves `path` as QEMU's chardev does: one client at a time. `async with` runs it.

    When the host's end has gone, the port is closed and opened again, which `on_port` is told.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_port: Callable[[bool], Awaitable[None]] | None = None,
        keepalive: float = 0.0,
        has_ps: bool = True,
        eof: grpc.StatusCode = Code.UNKNOWN,
        cgroup_v2_only: bool = False,
    ) -> None:
        self.path = path
        self.calls: list[tuple[str, Any]] = []
        self.answered: list[str] = []
        """Methods of calls that have ended, whether anybody was there to hear or not."""
        self.sandbox: agent_pb2.CreateSandboxRequest | None = None
        self.containers: dict[str, Container] = {}
        self.mount_points: set[str] = set()
        self.tags: set[str] = set()
        """Of folders of the host; a channel of 9p serves one mount."""
        self.interfaces = {MAC}
        self.offline_cpus = 0
        self.sessions: list[YamuxServer] = []
        self.panic = ""
        """Why the agent, and with it the guest, has fallen over."""
        self.reads = asyncio.Event()
        """Until it is set, the agent has opened its port but does not read it yet."""
        self.reads.set()
        self.waiting = False
        """A client has connected to the port that nobody reads yet."""
        self.answers = True
        """`False`: DestroySandbox hangs with the sandbox's lock, and all that needs it."""
        self._going: set[asyncio.Future[Any]] = set()
        self._on_port = on_port
        self._keepalive = keepalive
        self._has_ps = has_ps
        self._eof = eof
        self._cgroup_v2_only = cgroup_v2_only

    async def __aenter__(self) -> Kata1Agent:
        self._behind = self.path.with_name("grpc.sock")
        self._server = grpc.aio.server()
        services = {
            name: {
                method: grpc.unary_unary_rpc_method_handler(
                    self._handler(method, handler, request), request.FromString, _encode
                )
                for method, (request, handler) in table.items()
            }
            for name, table in self._tables().items()
        }
        for name, handlers in services.items():
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(name, handlers),)
            )
        self._server.add_insecure_port(f"unix:{self._behind}")
        await self._server.start()
        self._listening = sockets.listen(self.path)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._listening.close()
        await self._server.stop(None)
        for container in self.containers.values():
            for one in container.processes.values():
                await one.destroy()
        for going in tuple(self._going):
            going.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)

    @property
    def sins(self) -> list[str]:
        """What the host has done against the tables of yamux."""
        return [sin for session in self.sessions for sin in session.sins]

    def _done(self, method: str, going: asyncio.Future[Any]) -> None:
        self._going.discard(going)
        self.answered.append(method)
        if not going.cancelled():
            going.exception()  # it is no loss if nobody waits

    def called(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.panic:
            accepted, _ = await loop.sock_accept(self._listening)
            accepted.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=accepted)
            try:
                self.waiting = True
                await self.reads.wait()
                session = YamuxServer(reader, writer, self._behind, keepalive=self._keepalive)
                self.sessions.append(session)
                await session.run()
            finally:
                writer.transport.abort()
            if self._on_port is not None:
                await self._on_port(False)
                if not self.panic:
                    await self._on_port(True)

    # calls

    def _tables(self) -> dict[str, dict[str, tuple[Any, Callable[[Any], Answer]]]]:
        pb = agent_pb2
        return {
            "grpc.Health": {
                "Check": (health_pb2.CheckRequest, self._check),
                "Version": (health_pb2.CheckRequest, self._version),
            },
            "grpc.AgentService": {
                "CreateSandbox": (pb.CreateSandboxRequest, self._create_sandbox),
                "DestroySandbox": (pb.DestroySandboxRequest, self._destroy_sandbox),
                "UpdateInterface": (pb.UpdateInterfaceRequest, self._update_interface),
                "UpdateRoutes": (pb.UpdateRoutesRequest, self._update_routes),
                "CreateContainer": (pb.CreateContainerRequest, self._create),
                "StartContainer": (pb.StartContainerRequest, self._start),
                "RemoveContainer": (pb.RemoveContainerRequest, self._remove),
                "ExecProcess": (pb.ExecProcessRequest, self._exec),
                "SignalProcess": (pb.SignalProcessRequest, self._signal),
                "WaitProcess": (pb.WaitProcessRequest, self._wait),
                "ListProcesses": (guest_pb2.ListProcessesRequest, self._list),
                "StatsContainer": (pb.StatsContainerRequest, self._stats),
                "WriteStdin": (pb.WriteStreamRequest, self._write),
                "ReadStdout": (pb.ReadStreamRequest, self._read_stdout),
                "ReadStderr": (pb.ReadStreamRequest, self._read_stderr),
                "CloseStdin": (pb.CloseStdinRequest, self._close_stdin),
                "TtyWinResize": (pb.TtyWinResizeRequest, self._resize),
                "OnlineCPUMem": (pb.OnlineCPUMemRequest, self._online),
                "ReseedRandomDev": (pb.ReseedRandomDevRequest, self._reseed),
                "GetGuestDetails": (pb.GuestDetailsRequest, self._details),
                "SetGuestDateTime": (pb.SetGuestDateTimeRequest, self._set_clock),
            },
        }

    def _handler(
        self, method: str, handler: Callable[[Any], Answer], kind: Any
    ) -> Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Answer]:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            self.calls.append((method, request))
            # a call goes on when its client has left, and takes what it reads with it
            going = asyncio.ensure_future(handler(request))
            self._going.add(going)
            going.add_done_callback(lambda _: self._done(method, going))
            try:
                return await asyncio.shield(going)
            except Refused as refused:
                await context.abort(refused.code, str(refused))
            except EOFError:
                await context.abort(self._eof, "EOF")
            except OSError as error:  # a raw error of Go's
                await context.abort(Code.UNKNOWN, str(error.strerror).lower())

        return answer

    def _fall_over(self, why: str) -> Refused:
        """PID 1 panics: the channel is dead, and so is the guest."""
        self.panic = why
        for session in self.sessions:
            session.hang_up()
        return Refused(Code.UNAVAILABLE, why)

    def _started(self) -> None:
        if self.sandbox is None:
            raise Refused(Code.FAILED_PRECONDITION, "Sandbox not started")

    def _container(self, container_id: str, code: grpc.StatusCode = Code.NOT_FOUND) -> Container:
        self._started()
        if container_id not in self.containers:
            raise Refused(code, f"Container {container_id} not found, existing: []")
        return self.containers[container_id]

    def _process(self, request: Any) -> GuestProcess:
        found = self._container(request.container_id).processes.get(request.exec_id)
        if found is None:
            raise Refused(Code.NOT_FOUND, f"Process {request.exec_id} not found (container)")
        return found

    async def _check(self, _request: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def _version(self, _request: Any) -> Any:
        return health_pb2.VersionCheckResponse(grpc_version="0.0.1", agent_version=VERSION)

    async def _details(self, _request: Any) -> Any:
        details = agent_pb2.AgentDetails(
            version=VERSION, init_daemon=True, storage_handlers=sorted(DRIVERS)
        )
        return agent_pb2.GuestDetailsResponse(agent_details=details)

    async def _reseed(self, request: Any) -> Any:
        if not request.data:
            raise Refused(Code.UNKNOWN, "missing entropy data")

    async def _set_clock(self, _request: Any) -> Any:
        """The host's own is left alone."""

    async def _create_sandbox(self, request: agent_pb2.CreateSandboxRequest) -> Any:
        if self.sandbox is not None:
            raise Refused(Code.ALREADY_EXISTS, "Sandbox already started, impossible to start again")
        self._mount(request.storages)
        self.sandbox = request

    async def _destroy_sandbox(self, _request: Any) -> Any:
        if not self.answers:
            await asyncio.Event().wait()
        self.answers = False  # after an error the lock stays taken
        for container_id, container in tuple(self.containers.items()):
            container.check_removable()
            await self._destroy(container_id)
        self.answers = True
        self.sandbox = None
        self.mount_points.clear()
        self.tags.clear()

    def _mount(self, storages: Any) -> None:
        for storage in storages:
            if storage.driver not in DRIVERS:
                raise Refused(Code.INVALID_ARGUMENT, f"Unknown storage driver {storage.driver!r}")
            if not (storage.source and storage.mount_point and storage.fstype):
                raise Refused(Code.INTERNAL, "Invalid mount: source, target or type is empty")
            if storage.driver in NINE_P and not storage.mount_point.endswith("/"):
                raise Refused(Code.INTERNAL, f"no such file or directory {storage.mount_point}")
            if storage.driver == "9p" and "trans=virtio" not in ",".join(storage.options):
                raise Refused(Code.INTERNAL, "Could not mount kataShared: invalid argument")
            if storage.driver == "9p" and storage.source in self.tags:
                text = f"Could not mount {storage.source} to {storage.mount_point}"
                raise Refused(Code.INTERNAL, f"{text}: device or resource busy")
            self.tags.add(storage.source)
            self.mount_points.add(storage.mount_point.rstrip("/"))

    async def _update_interface(self, request: Any) -> Any:
        mac = request.interface.hwAddr
        if not mac:
            raise Refused(Code.INVALID_ARGUMENT, "hwAddr is empty")
        if mac not in self.interfaces:
            raise Refused(Code.INTERNAL, f"Could not find link: {mac}")
        for address in request.interface.IPAddresses:
            if not address.mask.isdecimal() or "/" in address.address:
                raise Refused(Code.INTERNAL, f"invalid address {address}")
        return types_pb2.Interface(device=request.interface.device)

    async def _update_routes(self, request: Any) -> Any:
        if not request.HasField("routes"):
            raise Refused(Code.INVALID_ARGUMENT, "nil routes")
        there = set()
        for route in sorted(request.routes.Routes, key=lambda one: bool(one.gateway)):
            says_v6 = ":" in route.dest + route.gateway + route.source
            if (says_v6, route.dest) in there:
                asked = f"dest({route.dest})/gw({route.gateway})/dev({route.device})"
                raise Refused(Code.INTERNAL, f"Could not add/replace route {asked}: file exists")
            there.add((says_v6, route.dest))
        return request.routes

    async def _create(self, request: agent_pb2.CreateContainerRequest) -> Any:
        self._started()
        if request.container_id in self.containers:
            raise Refused(Code.ALREADY_EXISTS, f"Container {request.container_id} already exists")
        linux = request.OCI.linux
        if not linux.HasField("Resources"):
            raise self._fall_over("invalid memory address or nil pointer dereference")
        if any(space.Type == "pid" for space in linux.Namespaces):
            raise Refused(Code.FAILED_PRECONDITION, "pid namespace is not expected in the spec")
        for device in request.devices:
            if not (device.type and device.container_path and (device.id or device.vm_path)):
                raise Refused(Code.INVALID_ARGUMENT, "invalid device")
        self._mount(request.storages)
        root = request.OCI.root.Path
        if not any(root.startswith(f"{point}/") for point in self.mount_points):
            raise Refused(Code.INTERNAL, f"stat {root}: no such file or directory")
        kinds = {mount.destination: mount.type for mount in request.OCI.Mounts}
        if kinds.get("/dev") != "tmpfs":
            raise Refused(Code.INTERNAL, "mknod /dev/null: operation not permitted")
        process = request.OCI.process
        path = dict(word.split("=", 1) for word in process.Env).get("PATH", "")
        if shutil.which(process.Args[0], path=path) is None:  # looked up before it is parked
            raise _missing(process.Args[0])
        init = GuestProcess(process)
        self.containers[request.container_id] = Container(init, request.OCI, request.exec_id)

    async def _start(self, request: Any) -> Any:
        container = self._container(request.container_id)
        if container.status != "created":
            raise Refused(Code.FAILED_PRECONDITION, f"status {container.status}, should be created")
        self._run(container.init)
        container.status = "running"
        if self._cgroup_v2_only:
            raise Refused(Code.UNKNOWN, "cgroups: cgroup mountpoint does not exist")

    def _run(self, process: GuestProcess) -> None:
        try:
            process.start()
        except FileNotFoundError as error:
            process.close()
            raise _missing(process.spec.Args[0]) from error

    async def _exec(self, request: agent_pb2.ExecProcessRequest) -> Any:
        container = self._container(request.container_id)
        if container.is_stopped:
            raise Refused(Code.FAILED_PRECONDITION, "Cannot exec in stopped container")
        if SYSFS not in {mount.destination for mount in container.spec.Mounts}:
            raise Refused(Code.INTERNAL, "read init-p: connection reset by peer")
        process = GuestProcess(request.process)
        self._run(process)
        container.processes[request.exec_id] = process

    async def _signal(self, request: agent_pb2.SignalProcessRequest) -> Any:
        container = self._container(request.container_id, Code.FAILED_PRECONDITION)
        if container.is_stopped:
            return
        if not request.exec_id:
            for one in container.processes.values():
                one.signal(request.signal, is_init=False)
            return
        process = self._process(request)
        try:
            process.signal(request.signal, is_init=process is container.init)
        except ProcessLookupError as error:
            raise Refused(Code.UNKNOWN, "os: process already finished") from error

    async def _wait(self, request: agent_pb2.WaitProcessRequest) -> Any:
        process = self._process(request)
        container = self.containers[request.container_id]
        status = await asyncio.shield(process.status)
        if process is container.init:  # with it goes its pid namespace
            for other in container.processes.values():
                other.kill()
        if container.processes.pop(request.exec_id, None) is not None:
            process.close()
        return agent_pb2.WaitProcessResponse(status=status)

    async def _list(self, request: Any) -> Any:
        container = self._container(request.container_id)
        pids = [one.pid for one in container.processes.values() if not one.status.done()]
        if request.format == "json":
            return guest_pb2.ListProcessesResponse(process_list=json.dumps(pids).encode())
        if request.format != "table":
            raise Refused(Code.UNKNOWN, "invalid format option")
        if not self._has_ps:
            raise Refused(Code.UNKNOWN, 'exec: "ps": executable file not found in $PATH')
        table = "PID CMD\n" + "".join(f"{pid} sh\n" for pid in pids)
        return guest_pb2.ListProcessesResponse(process_list=table.encode())

    async def _stats(self, request: Any) -> Any:
        self._container(request.container_id)
        usage = agent_pb2.CpuUsage(total_usage=7)
        cpu = agent_pb2.CpuStats(cpu_usage=usage)
        return agent_pb2.StatsContainerResponse(cgroup_stats=agent_pb2.CgroupStats(cpu_stats=cpu))

    async def _write(self, request: agent_pb2.WriteStreamRequest) -> Any:
        return agent_pb2.WriteStreamResponse(len=await self._process(request).write(request.data))

    async def _read_stdout(self, request: agent_pb2.ReadStreamRequest) -> Any:
        process = self._process(request)
        return agent_pb2.ReadStreamResponse(data=await process.read(process.stdout, request.len))

    async def _read_stderr(self, request: agent_pb2.ReadStreamRequest) -> Any:
        process = self._process(request)
        return agent_pb2.ReadStreamResponse(data=await process.read(process.stderr, request.len))

    async def _close_stdin(self, request: Any) -> Any:
        self._process(request).close_stdin()

    async def _resize(self, request: agent_pb2.TtyWinResizeRequest) -> Any:
        process = self._process(request)
        if not process.spec.Terminal:
            raise Refused(Code.FAILED_PRECONDITION, "Terminal is not set, impossible to resize it")
        process.resize(request.row, request.column)

    async def _remove(self, request: Any) -> Any:
        self._container(request.container_id).check_removable()
        await self._destroy(request.container_id)

    async def _destroy(self, container_id: str) -> None:
        container = self.containers.pop(container_id)
        for one in container.processes.values():
            await one.destroy()

    async def _online(self, request: agent_pb2.OnlineCPUMemRequest) -> Any:
        if not request.nb_cpus and request.cpu_only:
            raise Refused(Code.UNKNOWN, "requested number of CPUs '0' must be greater than 0")
        if request.nb_cpus > self.offline_cpus:
            raise Refused(
                Code.UNKNOWN, f"only {self.offline_cpus} of {request.nb_cpus} were connected"
            )
        self.offline_cpus -= request.nb_cpus


def _missing(name: str) -> Refused:
    reason = (
        f"stat {name}: no such file or directory"
        if "/" in name
        else "executable file not found in $PATH"
    )
    text = f'Could not run process: starting container process caused "exec: \\"{name}\\": '
    return Refused(Code.INTERNAL, f'{text}{reason}"')


def _encode(answer: Any) -> bytes:
    return b"" if answer is None else bytes(answer.SerializeToString())
