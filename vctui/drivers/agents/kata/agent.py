"""The Kata agent of either generation, and our own, which speaks both protocols."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from vctui.drivers.agents import words
from vctui.drivers.agents.base import Agent, AgentInfo, ContainerSpec, ContainerStats
from vctui.drivers.agents.kata import (
    answers,
    first_generation,
    interfaces,
    later_generations,
    requests,
)
from vctui.drivers.agents.kata.carrier import AGENT, GUEST, HEALTH, Carrier, Request
from vctui.drivers.agents.kata.needs import needs
from vctui.errors import AgentError, AgentUnreachable, AgentUnsupported
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.kinds import SharedFs, Signal
from vctui.model.network import PodNetwork
from vctui.model.timeline import Step
from vctui.telemetry import trace
from vctui.wire import monitor, proto, resolver, ttrpc

if TYPE_CHECKING:
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import Message

    from vctui.wire.pb import agent_pb2, guest_pb2, health_pb2, types_pb2
else:
    agent_pb2 = guest_pb2 = health_pb2 = types_pb2 = proto.messages
    Empty = proto.Message

_ENTROPY: Final = 256
"""Bytes of fresh randomness for a guest."""
_GOODBYE: Final = 10.0
"""Seconds for DestroySandbox; a guest that hangs is switched off anyway."""
_AGAIN: Final = 0.1
"""Seconds from SIGKILL to the next look at what is to be removed."""
_VERSION_SHOWN: Final = 64
_FEATURES_KEPT: Final = 64
_NUMBER: Final = 2**63 - 1

_Answer = TypeVar("_Answer", bound="Message")


class KataAgent(Agent):
    """Speaks for one pod.

    Args:
        timeout: seconds for one answer; WaitProcess has none and is the monitor's.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._carrier: Carrier | None = None
        self._created: dict[str, Cmd] = {}

    needs = staticmethod(needs)

    async def connect(self, url: str, *, timeout: float) -> None:
        self._carrier = await Carrier.connect(url, timeout=timeout)

    async def close(self) -> None:
        if self._carrier is not None:
            await self._carrier.close()

    async def info(self) -> AgentInfo:
        version, details = await asyncio.gather(self._version(), self._details())
        return AgentInfo(
            version=words.sentence(version.agent_version)[:_VERSION_SHOWN],
            features=frozenset(_words(details.extra_features)),
            protocol=monitor.GRPC if self._is_first_generation else monitor.TTRPC,
            storage_handlers=_words(details.storage_handlers),
            device_handlers=_words(details.device_handlers),
            supports_seccomp=details.supports_seccomp,
        )

    async def _version(self) -> health_pb2.VersionCheckResponse:
        return await self._call(
            "Version", health_pb2.CheckRequest(), health_pb2.VersionCheckResponse, service=HEALTH
        )

    async def _details(self) -> agent_pb2.AgentDetails:
        try:
            answer = await self._call(
                "GetGuestDetails",
                agent_pb2.GuestDetailsRequest(),
                agent_pb2.GuestDetailsResponse,
            )
        except AgentUnsupported:  # before Kata 1.3
            return agent_pb2.AgentDetails()
        return answer.agent_details

    async def prepare(self) -> None:
        await self.info()
        with suppress(AgentUnsupported):
            await self._do("Prepare", requests.prepare(), service=GUEST)

    async def start_sandbox(
        self,
        *,
        pod_id: str,
        hostname: str,
        network: PodNetwork | None = None,
        shared_fs: SharedFs = SharedFs.NINE_P,
        volumes: Sequence[str] = (),
    ) -> None:
        dns = resolver.lines(network.dns) if network is not None else []
        request = requests.create_sandbox(pod_id, hostname, dns, shared_fs, volumes)
        # first of all: a guest that began as a template must not do as its siblings did
        renewed = asyncio.gather(self._reseed(), self.set_clock())
        if network is None:
            await asyncio.gather(renewed, self._create_sandbox(pod_id, shared_fs, request))
            return
        await renewed
        await self._tell_interfaces(network)
        if network.routes:
            await self._tell_routes(network)
        await self._tell_neighbors(network)
        await self._create_sandbox(pod_id, shared_fs, request)

    async def _create_sandbox(
        self, pod_id: str, shared_fs: SharedFs, request: agent_pb2.CreateSandboxRequest
    ) -> None:
        try:
            await self._do("CreateSandbox", request)
        except AgentUnreachable:
            raise
        except AgentError as error:
            await self._check_mounts(pod_id, shared_fs, error)
            raise

    async def _check_mounts(self, pod_id: str, wanted: SharedFs, error: AgentError) -> None:
        """Raises AgentUnsupported, with the remedy, where the agent says that it mounts others."""
        mounts: Sequence[str] = ()
        with suppress(AgentError):
            mounts = (await self._details()).storage_handlers
        other = next((kind for kind in SharedFs if kind is not wanted and kind in mounts), None)
        if other is not None and wanted not in mounts:
            raise AgentUnsupported(
                f"the agent in pod {pod_id!r} does not mount {wanted}; set "
                f"hypervisor_config.shared_fs to {other}",
                code=error.code,
            ) from error

    async def update_network(self, network: PodNetwork) -> None:
        await self._tell_interfaces(network)
        await self._tell_routes(network)
        await self._tell_neighbors(network)

    async def _tell_interfaces(self, network: PodNetwork) -> None:
        for endpoint in network.endpoints:
            await self._call(
                "UpdateInterface",
                agent_pb2.UpdateInterfaceRequest(interface=interfaces.interface(endpoint)),
                types_pb2.Interface,
            )

    async def _tell_routes(self, network: PodNetwork) -> None:
        """All of them: one that is not named is removed."""
        routes = interfaces.routes(network)
        if self._is_first_generation:
            first_generation.suit_routes(routes)
        await self._call(
            "UpdateRoutes", agent_pb2.UpdateRoutesRequest(routes=routes), agent_pb2.Routes
        )

    async def _tell_neighbors(self, network: PodNetwork) -> None:
        if network.neighbors:
            request = agent_pb2.AddARPNeighborsRequest(neighbors=interfaces.neighbors(network))
            with suppress(AgentUnsupported):  # before Kata 1.12: they are asked for instead
                await self._do("AddARPNeighbors", request)

    async def _reseed(self) -> None:
        request = agent_pb2.ReseedRandomDevRequest(data=os.urandom(_ENTROPY))
        with suppress(AgentUnsupported):  # before Kata 1.2
            await self._do("ReseedRandomDev", request)

    async def stop_sandbox(self) -> None:
        with suppress(AgentUnreachable):  # the guest may power off before it has answered
            await self._do("DestroySandbox", agent_pb2.DestroySandboxRequest(), timeout=_GOODBYE)

    async def create_container(self, spec: ContainerSpec) -> None:
        container_id, cmd = spec.config.id, spec.config.cmd
        self._created[container_id] = cmd
        try:
            request = requests.create_container(spec)
            if self._is_first_generation:
                first_generation.suit(request.OCI.process, cmd)
                first_generation.suit_mounts(request.OCI, spec.config)
                await self._do("CreateContainer", first_generation.CreateContainer(request))
            else:
                await self._suit(cmd, request)
                await self._do("CreateContainer", request)
        except AgentError as error:
            raise words.command_failed(cmd.args[0], container_id, error) from error

    async def _suit(self, cmd: Cmd, request: agent_pb2.CreateContainerRequest) -> None:
        """Raises AgentUnsupported."""
        linux = request.OCI.linux
        if later_generations.names(cmd) or linux.HasField("Seccomp"):
            details = await self._details()
            later_generations.check_user(cmd, details)
            later_generations.suit_filter(request.container_id, linux, details)

    async def start_container(self, container_id: str) -> None:
        cmd = self._created.pop(container_id, None)
        try:
            await self._do(
                "StartContainer", agent_pb2.StartContainerRequest(container_id=container_id)
            )
        except AgentError as error:
            if self._is_first_generation and answers.is_about_cgroups(error):
                raise first_generation.no_cgroups(container_id, error) from error
            if cmd is None:
                raise
            raise words.command_failed(cmd.args[0], container_id, error) from error
        if cmd is not None and not (cmd.interactive or cmd.stdin or cmd.console):
            await self._close_stdin(container_id, container_id)

    async def _close_stdin(self, container_id: str, token: str) -> None:
        with suppress(AgentError):  # it may have ended already
            await self._do(
                "CloseStdin", agent_pb2.CloseStdinRequest(container_id=container_id, exec_id=token)
            )

    async def remove_container(self, container_id: str, *, timeout: float) -> None:
        request = agent_pb2.RemoveContainerRequest(
            container_id=container_id, timeout=max(1, math.ceil(timeout))
        )
        deadline = time.monotonic() + timeout
        while True:
            try:
                await self._do("RemoveContainer", request, timeout=self._timeout + timeout)
                return
            except AgentError as error:
                runs = self._is_first_generation and error.code == ttrpc.UNKNOWN
                if not runs or time.monotonic() >= deadline:
                    raise
            # 1.x ends nothing by itself, and says of what runs only that it cannot be removed
            await self.signal(container_id, container_id, Signal.KILL, all=True)
            await asyncio.sleep(_AGAIN)

    async def exec(self, container_id: str, token: str, cmd: Cmd) -> None:
        try:
            request = requests.exec_process(container_id, token, cmd)
            if self._is_first_generation:
                first_generation.suit(request.process, cmd)
            elif later_generations.names(cmd):
                later_generations.check_user(cmd, await self._details())
            await self._do("ExecProcess", request)
        except AgentError as error:
            raise words.command_failed(cmd.args[0], container_id, error) from error
        if cmd.detach and not (cmd.interactive or cmd.stdin or cmd.console):
            await self._close_stdin(container_id, token)

    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        """An empty exec id means every process; since Kata 2.x only for SIGKILL, and the first one
        for any other signal (sheet §7), so that all others need our own agent's call."""
        try:
            if all and signal != Signal.KILL and not self._is_first_generation:
                await self._do(
                    "SignalContainer",
                    guest_pb2.SignalContainerRequest(container_id=container_id, signal=signal),
                    service=GUEST,
                )
            else:
                await self._do(
                    "SignalProcess",
                    agent_pb2.SignalProcessRequest(
                        container_id=container_id, exec_id="" if all else token, signal=signal
                    ),
                )
        except AgentUnsupported as error:
            raise AgentUnsupported(
                f"the agent sends only SIGKILL to all processes of container {container_id!r}; "
                "send that, or send the signal to the first process",
                code=error.code,
            ) from error
        except AgentError as error:
            if not answers.is_gone(error):
                raise

    async def processes(self, container_id: str, options: ProcessListOptions) -> bytes:
        try:
            answer = await self._call(
                "ListProcesses",
                guest_pb2.ListProcessesRequest(
                    container_id=container_id, format=options.format.value, args=options.args
                ),
                guest_pb2.ListProcessesResponse,
                service=AGENT if self._is_first_generation else GUEST,
            )
        except AgentError as error:
            if not answers.lacks_program(error):
                raise
            raise AgentUnsupported(
                f"the guest has no ps to list the processes of container {container_id!r} with; "
                "run ps in the container",
                code=error.code,
            ) from error
        return answer.process_list

    async def online(self, *, vcpus: int, plugged: int) -> None:
        """Up to 2.x an agent counts the new processors only, and looks seconds for one that is not
        there."""
        only_new = self._is_first_generation or later_generations.counts_new_processors(
            (await self._version()).agent_version
        )
        count = plugged if only_new else vcpus
        await self._do(
            "OnlineCPUMem", agent_pb2.OnlineCPUMemRequest(wait=True, nb_cpus=count, cpu_only=False)
        )

    async def set_clock(self) -> None:
        seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
        request = agent_pb2.SetGuestDateTimeRequest(Sec=seconds, Usec=fraction // 1000)
        with suppress(AgentUnsupported):  # before Kata 1.5
            await self._do("SetGuestDateTime", request)

    @property
    def _is_first_generation(self) -> bool:
        return self._carrier is not None and self._carrier.is_first_generation

    async def timeline(self) -> tuple[Step, ...]:
        sent = trace.clock()
        try:
            answer = await self._call(
                "GetTimeline",
                guest_pb2.GetTimelineRequest(),
                guest_pb2.GetTimelineResponse,
                service=GUEST,
            )
        except AgentUnsupported:
            return ()
        return answers.timeline(answer, asked=(sent + trace.clock()) / 2)

    async def stats(self, container_ids: Sequence[str]) -> dict[str, ContainerStats]:
        """Containers of which the agent has no figures are left out."""
        found = await asyncio.gather(*(self._stats(each) for each in container_ids))
        return {
            container_id: stats
            for container_id, stats in zip(container_ids, found, strict=True)
            if stats is not None
        }

    async def _stats(self, container_id: str) -> ContainerStats | None:
        try:
            answer = await self._call(
                "StatsContainer",
                agent_pb2.StatsContainerRequest(container_id=container_id),
                agent_pb2.StatsContainerResponse,
            )
        except AgentUnreachable:
            raise
        except AgentError:
            return None
        figures = answer.cgroup_stats
        return ContainerStats(
            cpu_ns=min(figures.cpu_stats.cpu_usage.total_usage, _NUMBER),
            memory_bytes=min(figures.memory_stats.usage.usage, _NUMBER),
            pids=min(figures.pids_stats.current, _NUMBER),
        )

    async def _do(
        self,
        method: str,
        request: Request,
        *,
        service: str = AGENT,
        timeout: float | None = None,
    ) -> None:
        await self._call(method, request, Empty, service=service, timeout=timeout)

    async def _call(
        self,
        method: str,
        request: Request,
        answer: type[_Answer],
        *,
        service: str = AGENT,
        timeout: float | None = None,
    ) -> _Answer:
        if self._carrier is None:
            raise AgentUnreachable("the agent is not connected", code=ttrpc.UNAVAILABLE)
        return await self._carrier.call(
            service, method, request, answer, timeout=timeout or self._timeout
        )


def _words(said: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(words.sentence(each)[:_VERSION_SHOWN] for each in said[:_FEATURES_KEPT]))
