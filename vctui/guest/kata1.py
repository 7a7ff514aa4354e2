"""The agent as Kata 1.x had it, on the same containers (kata-agent gRPC sheet, §6, §7).

It is strict where real agents of that generation are, so that a host which gets on with it gets
on with them: the sandbox comes first, a process is gone once it was waited for, the end of a
stream is an error, and nothing of today's calls is there.
"""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest.calls import Method
from vctui.guest.mounts import HANDLERS
from vctui.guest.service import Service
from vctui.wire import ttrpc
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vctui.guest.config import Config
    from vctui.guest.loop import Loop
    from vctui.guest.process import Process
    from vctui.guest.sandbox import Sandbox
    from vctui.guest.timeline import Timeline
    from vctui.wire.pb import agent_pb2 as agent

VERSION = "1.12.1"
"""Release of the Kata agent whose protocol this is."""
_OF_TODAY = ("GetMetrics",)
"""Calls that came with 2.x."""


class Kata1Service(Service):
    def __init__(self, loop: Loop, sandbox: Sandbox, config: Config, timeline: Timeline) -> None:
        super().__init__(loop, sandbox, config, timeline)
        self._started = False

    def services(self) -> dict[str, dict[str, Method]]:
        table = super().services()
        calls = table["grpc.AgentService"]
        for name in _OF_TODAY:
            del calls[name]
        calls["ListProcesses"] = Method("ListProcessesRequest", self.list_processes)
        del table["vctui.Guest"]
        return table

    async def version(self, _request: Any, _client: int) -> Any:
        return message("VersionCheckResponse")(grpc_version="0.0.1", agent_version=VERSION)

    async def get_guest_details(self, request: agent.GuestDetailsRequest, client: int) -> Any:
        answer = await super().get_guest_details(request, client)
        answer.agent_details = message("AgentDetails")(
            version=VERSION, init_daemon=True, storage_handlers=list(HANDLERS)
        )
        return answer

    async def create_sandbox(self, request: agent.CreateSandboxRequest, client: int) -> None:
        if self._started:
            raise AgentError("the sandbox is there already", code=ttrpc.ALREADY_EXISTS)
        for storage in request.storages:
            _check_mount_point(storage.mount_point)
        await super().create_sandbox(request, client)
        self._started = True

    async def destroy_sandbox(self, _request: Any, _client: int) -> None:
        """The guest stays: whoever runs the machine ends it."""
        await self._sandbox.destroy()
        self._started = False

    async def create_container(self, request: agent.CreateContainerRequest, client: int) -> None:
        linux = request.OCI.linux
        if any(space.Type == "pid" for space in linux.Namespaces):
            raise AgentError("the pid namespace is ours", code=ttrpc.FAILED_PRECONDITION)
        if not linux.HasField("Resources"):
            raise AgentError("the container has no resources", code=ttrpc.INTERNAL)
        if not request.exec_id:
            raise AgentError("the first process has no id", code=ttrpc.INVALID_ARGUMENT)
        self._must_be_started()
        _ignore_string_user(request)
        await super().create_container(request, client)
        container = self._sandbox.container(request.container_id)
        container.processes[request.exec_id] = container.init

    async def exec_process(self, request: agent.ExecProcessRequest, client: int) -> None:
        _ignore_string_user(request)
        await super().exec_process(request, client)

    async def wait_process(self, request: agent.WaitProcessRequest, client: int) -> Any:
        answer = await super().wait_process(request, client)
        self._container(request.container_id).forget(request.exec_id)
        return answer

    async def signal_process(self, request: agent.SignalProcessRequest, client: int) -> None:
        if request.exec_id:
            await super().signal_process(request, client)
        else:
            self._container(request.container_id).signal_all(request.signal)

    async def read_stdout(self, request: agent.ReadStreamRequest, client: int) -> Any:
        return _unless_ended(await super().read_stdout(request, client))

    async def read_stderr(self, request: agent.ReadStreamRequest, client: int) -> Any:
        return _unless_ended(await super().read_stderr(request, client))

    def _process(self, request: Any) -> Process:
        self._must_be_started()
        if not request.exec_id:
            raise AgentError("there is no process without an id", code=ttrpc.NOT_FOUND)
        return super()._process(request)

    def _must_be_started(self) -> None:
        if not self._started:
            raise AgentError("there is no sandbox yet", code=ttrpc.FAILED_PRECONDITION)


def _ignore_string_user(request: Any) -> None:
    request.string_user = message("StringUser")()


def _check_mount_point(path: str) -> None:
    """That of an agent which makes only the folder above what does not end with a slash."""
    if not path.endswith("/") and not os.path.isdir(path):
        raise AgentError(f"the mount point {path} is not there", code=ttrpc.INTERNAL)


def _unless_ended(answer: Any) -> Any:
    if not answer.data:
        raise AgentError("EOF", code=ttrpc.UNKNOWN)
    return answer
