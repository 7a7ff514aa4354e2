"""The calls of grpc.AgentService, grpc.Health and vctui.Guest; a method of ours for each.

What is not in the table answers UNIMPLEMENTED by itself.
"""

from __future__ import annotations

import time

from vctui.errors import AgentError
from vctui.guest import plainfile
from vctui.guest import sandbox as guest
from vctui.guest.calls import Method
from vctui.guest.loop import TimedOut
from vctui.guest.mounts import HANDLERS
from vctui.wire import ttrpc
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vctui.guest.config import Config
    from vctui.guest.container import Container
    from vctui.guest.loop import Loop
    from vctui.guest.process import Process
    from vctui.guest.sandbox import Sandbox
    from vctui.guest.stdio import Output
    from vctui.guest.timeline import Timeline
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import guest_pb2

VERSION = "3.30.0"
"""Release of the Kata agent whose protocol this is."""
FEATURES = (
    "vctui.Guest.ListProcesses",
    "vctui.Guest.SignalContainer",
    "vctui.Guest.GetTimeline",
)
_MIN_ENTROPY = 1


class Service:
    """All that a host may ask. Each method is given the request and the client's number."""

    def __init__(self, loop: Loop, sandbox: Sandbox, config: Config, timeline: Timeline) -> None:
        self._loop = loop
        self._timeline = timeline
        self._sandbox = sandbox
        self._config = config
        self.destroyed = False
        """DestroySandbox was called: power off when its answer has gone."""

    def services(self) -> dict[str, dict[str, Method]]:
        return {
            "grpc.Health": {
                "Check": Method("CheckRequest", self.check),
                "Version": Method("CheckRequest", self.version),
            },
            "grpc.AgentService": {
                "CreateSandbox": Method("CreateSandboxRequest", self.create_sandbox),
                "DestroySandbox": Method("DestroySandboxRequest", self.destroy_sandbox),
                "CreateContainer": Method("CreateContainerRequest", self.create_container),
                "StartContainer": Method("StartContainerRequest", self.start_container),
                "RemoveContainer": Method("RemoveContainerRequest", self.remove_container),
                "ExecProcess": Method("ExecProcessRequest", self.exec_process),
                "SignalProcess": Method("SignalProcessRequest", self.signal_process),
                "WaitProcess": Method("WaitProcessRequest", self.wait_process, waits=True),
                "UpdateContainer": Method("UpdateContainerRequest", self.update_container),
                "StatsContainer": Method("StatsContainerRequest", self.stats_container),
                "PauseContainer": Method("PauseContainerRequest", self.pause_container),
                "ResumeContainer": Method("ResumeContainerRequest", self.resume_container),
                "WriteStdin": Method("WriteStreamRequest", self.write_stdin, waits=True),
                "ReadStdout": Method("ReadStreamRequest", self.read_stdout, waits=True),
                "ReadStderr": Method("ReadStreamRequest", self.read_stderr, waits=True),
                "CloseStdin": Method("CloseStdinRequest", self.close_stdin, waits=True),
                "TtyWinResize": Method("TtyWinResizeRequest", self.tty_win_resize),
                "GetOOMEvent": Method("GetOOMEventRequest", self.get_oom_event, waits=True),
                "GetGuestDetails": Method("GuestDetailsRequest", self.get_guest_details),
                "GetMetrics": Method("GetMetricsRequest", self.get_metrics),
                "SetGuestDateTime": Method("SetGuestDateTimeRequest", self.set_guest_date_time),
                "ReseedRandomDev": Method("ReseedRandomDevRequest", self.reseed_random_dev),
                "OnlineCPUMem": Method("OnlineCPUMemRequest", self.online_cpu_mem),
                "CopyFile": Method("CopyFileRequest", self.copy_file),
                "ListInterfaces": Method("ListInterfacesRequest", self.list_interfaces),
                "UpdateInterface": Method("UpdateInterfaceRequest", self.update_interface),
                "ListRoutes": Method("ListRoutesRequest", self.list_routes),
                "UpdateRoutes": Method("UpdateRoutesRequest", self.update_routes),
                "AddARPNeighbors": Method("AddARPNeighborsRequest", self.add_arp_neighbors),
            },
            "vctui.Guest": {
                "Prepare": Method("PrepareRequest", self.prepare),
                "ListProcesses": Method("ListProcessesRequest", self.list_processes),
                "SignalContainer": Method("SignalContainerRequest", self.signal_container),
                "GetTimeline": Method("GetTimelineRequest", self.get_timeline),
            },
        }

    # health

    async def check(self, _request: Any, _client: int) -> Any:
        return message("HealthCheckResponse")(status=1)

    async def version(self, _request: Any, _client: int) -> Any:
        return message("VersionCheckResponse")(grpc_version="0.0.1", agent_version=VERSION)

    # the sandbox

    async def create_sandbox(self, request: agent.CreateSandboxRequest, _client: int) -> None:
        await self._sandbox.create(request)

    async def prepare(self, request: guest_pb2.PrepareRequest, _client: int) -> None:
        await self._sandbox.prepare(request)

    async def destroy_sandbox(self, _request: Any, _client: int) -> None:
        await self._sandbox.destroy()
        self.destroyed = True

    async def get_guest_details(self, request: agent.GuestDetailsRequest, _client: int) -> Any:
        details = message("AgentDetails")(
            version=VERSION,
            init_daemon=True,
            storage_handlers=list(HANDLERS),
            supports_seccomp=True,
            extra_features=list(FEATURES),
        )
        size = 0
        if request.mem_block_size:
            text = self._read(f"{self._config.sys}/devices/system/memory/block_size_bytes")
            size = int(text or "0", 16)
        return message("GuestDetailsResponse")(mem_block_size_bytes=size, agent_details=details)

    async def get_metrics(self, _request: Any, _client: int) -> Any:
        from vctui.guest.stats import metrics

        text = metrics(
            self._read(f"{self._config.proc}/loadavg"),
            self._read(f"{self._config.proc}/meminfo"),
            len(self._sandbox.containers),
        )
        return message("Metrics")(metrics=text)

    async def set_guest_date_time(
        self, request: agent.SetGuestDateTimeRequest, _client: int
    ) -> None:
        guest.set_clock(request.Sec, request.Usec)

    async def reseed_random_dev(self, request: agent.ReseedRandomDevRequest, _client: int) -> None:
        from vctui.linux.ioctls import credit_entropy

        if not request.data:
            raise AgentError("there are no random bytes", code=ttrpc.INVALID_ARGUMENT)
        try:
            credit_entropy(request.data)
        except OSError as error:
            raise AgentError(f"the random device: {error.strerror}") from error

    async def online_cpu_mem(self, request: agent.OnlineCPUMemRequest, _client: int) -> None:
        memory = not request.cpu_only
        await guest.online(self._loop, self._config.sys, request.nb_cpus, memory=memory)

    async def copy_file(self, request: agent.CopyFileRequest, _client: int) -> None:
        from vctui.guest.files import copy

        copy(request, self._config.shared)

    async def get_oom_event(self, _request: Any, _client: int) -> Any:
        return message("OOMEvent")(container_id=await self._sandbox.oom_event())

    # containers

    async def create_container(self, request: agent.CreateContainerRequest, _client: int) -> None:
        await self._sandbox.create_container(request)

    async def start_container(self, request: agent.StartContainerRequest, _client: int) -> None:
        await self._sandbox.start_container(request.container_id)

    async def remove_container(self, request: agent.RemoveContainerRequest, _client: int) -> None:
        removed = self._sandbox.remove_container(request.container_id)
        if not request.timeout:
            await removed
            return
        try:
            await self._loop.within(request.timeout, removed)
        except TimedOut:
            raise AgentError(
                f"container {request.container_id} is not gone after {request.timeout} s",
                code=ttrpc.DEADLINE_EXCEEDED,
            ) from None

    async def update_container(self, request: agent.UpdateContainerRequest, _client: int) -> None:
        container = self._container(request.container_id)
        if not request.HasField("resources"):
            raise AgentError("the request has no resources", code=ttrpc.INVALID_ARGUMENT)
        try:
            container.cgroup.update(request.resources)
        except OSError as error:
            raise AgentError(
                f"container {container.id}: the kernel refuses a limit: {error.strerror}"
            ) from error

    async def stats_container(self, request: agent.StatsContainerRequest, _client: int) -> Any:
        from vctui.guest import stats

        return stats.container(self._container(request.container_id).cgroup)

    async def pause_container(self, request: agent.PauseContainerRequest, _client: int) -> None:
        await self._container(request.container_id).pause()

    async def resume_container(self, request: agent.ResumeContainerRequest, _client: int) -> None:
        await self._container(request.container_id).resume()

    # processes

    async def exec_process(self, request: agent.ExecProcessRequest, _client: int) -> None:
        if not request.HasField("process"):
            raise AgentError("the request has no process", code=ttrpc.INVALID_ARGUMENT)
        await self._container(request.container_id).exec(request)

    async def signal_process(self, request: agent.SignalProcessRequest, _client: int) -> None:
        self._container(request.container_id).signal(request.exec_id, request.signal)

    async def signal_container(
        self, request: guest_pb2.SignalContainerRequest, _client: int
    ) -> None:
        self._container(request.container_id).signal_all(request.signal)

    async def wait_process(self, request: agent.WaitProcessRequest, _client: int) -> Any:
        process = self._process(request)
        return message("WaitProcessResponse")(status=await process.ended)

    async def write_stdin(self, request: agent.WriteStreamRequest, _client: int) -> Any:
        process = self._process(request)
        await process.connected
        if process.stdin is None:
            raise AgentError(f"process {process.id} has no input", code=ttrpc.UNAVAILABLE)
        return message("WriteStreamResponse")(len=await process.stdin.write(request.data))

    async def close_stdin(self, request: agent.CloseStdinRequest, _client: int) -> None:
        process = self._process(request)
        await process.connected
        if process.stdin is not None and not process.terminal:
            await process.stdin.finish()

    async def read_stdout(self, request: agent.ReadStreamRequest, client: int) -> Any:
        process = self._process(request)
        await process.connected
        return await self._read_stream(process.stdout, request, client)

    async def read_stderr(self, request: agent.ReadStreamRequest, client: int) -> Any:
        process = self._process(request)
        await process.connected
        return await self._read_stream(process.stderr, request, client)

    async def tty_win_resize(self, request: agent.TtyWinResizeRequest, _client: int) -> None:
        process = self._process(request)
        process.resize(request.row, request.column)

    async def list_processes(self, request: guest_pb2.ListProcessesRequest, _client: int) -> Any:
        from vctui.guest import procfs, ps
        from vctui.guest.cgroup import number, table
        from vctui.guest.users import read_below, user_names

        container = self._container(request.container_id)
        memory = table(self._read(f"{self._config.proc}/meminfo")).get("MemTotal:", "0 kB")
        host = ps.Host(
            now=time.time(),
            memory=number(memory.split()[0]),
            users=user_names(read_below(container.rootfs, "etc/passwd")),
        )
        if request.format not in {"", "json", "table"}:
            raise AgentError(
                f"there is no format {request.format!r}; there are json and table",
                code=ttrpc.INVALID_ARGUMENT,
            )
        found = procfs.entries(container.cgroup.pids(), self._config.proc)
        if request.format == "json":
            listed = ps.listing(found, host)
        else:
            listed = ps.table(found, host, request.args or ("-ef",))
        return message("ListProcessesResponse")(process_list=listed)

    # where the time went

    async def get_timeline(self, _request: Any, _client: int) -> Any:
        from vctui.guest import kmsg
        from vctui.guest.timeline import now

        try:
            boot = kmsg.steps(kmsg.records(), self._timeline.began)
        except OSError:  # a kernel without a log, or not ours to read
            boot = []
        step = message("TimelineStep")
        return message("GetTimelineResponse")(
            now_ns=now(),
            steps=[
                step(name=name, begin_ns=begin, end_ns=end)
                for name, begin, end in (*boot, *self._timeline.steps())
            ],
        )

    # the network

    async def list_interfaces(self, _request: Any, _client: int) -> Any:
        from vctui.guest import network

        return network.interfaces()

    async def update_interface(self, request: agent.UpdateInterfaceRequest, _client: int) -> Any:
        from vctui.guest import network

        return await network.update_interface(self._loop, request.interface)

    async def list_routes(self, _request: Any, _client: int) -> Any:
        from vctui.guest import network

        return network.routes()

    async def update_routes(self, request: agent.UpdateRoutesRequest, _client: int) -> Any:
        from vctui.guest import network

        return network.update_routes(request.routes)

    async def add_arp_neighbors(self, request: agent.AddARPNeighborsRequest, _client: int) -> None:
        from vctui.guest import network

        network.add_neighbors(request.neighbors)

    def _container(self, container_id: str) -> Container:
        return self._sandbox.container(container_id)

    def _process(self, request: Any) -> Process:
        """Of `container_id` and `exec_id`. Raises AgentError."""
        return self._container(request.container_id).process(request.exec_id)

    async def _read_stream(
        self, stream: Output | None, request: agent.ReadStreamRequest, client: int
    ) -> Any:
        data = b"" if stream is None else await stream.read(request.len, client)
        return message("ReadStreamResponse")(data=data)

    def _read(self, path: str) -> str:
        try:
            return plainfile.read(path).decode(errors="replace").strip()
        except OSError:
            return ""
