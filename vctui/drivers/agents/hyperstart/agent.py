"""hyperstart and Clear Containers' agent, through the pod's monitor (hyperstart sheet, §8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from vctui.drivers import monitor_client
from vctui.drivers.agents import words
from vctui.drivers.agents.base import Agent, AgentInfo, ContainerSpec, ContainerStats, GuestNeeds
from vctui.drivers.agents.hyperstart import network as networks
from vctui.drivers.agents.hyperstart import requests
from vctui.drivers.hypervisors.base import Port, Share
from vctui.drivers.ttrpc_client import CallFailed, Session
from vctui.errors import AgentError, AgentUnreachable, AgentUnsupported
from vctui.model.agent import AgentConfig
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.kinds import ProcessListFormat, SharedFs, Signal
from vctui.model.network import PodNetwork
from vctui.model.timeline import Step
from vctui.wire import hyperstart, monitor, ttrpc

_GOODBYE: Final = 10.0
_PATH_SENT: Final = 1024
_FILE_SENT: Final = 8192
"""Bytes of a path and of a file that fit a command which every peer takes, with all the rest."""


class HyperstartAgent(Agent):
    """Speaks for one pod.

    A container is made and started by one command, so `create_container` only remembers what
    `start_container` of the same connection is to send.

    Args:
        timeout: seconds for one answer.
    """

    shim_first = True  # whose streams they are is known before they begin

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._session: Session | monitor_client.Calls | None = None
        self._pod = ""
        self._version: int | None = None
        self._created: dict[str, ContainerSpec] = {}

    @staticmethod
    def needs(run_dir: Path, share_dir: Path, config: AgentConfig, *, debug: bool) -> GuestNeeds:
        return GuestNeeds(
            ports=(
                Port(name=hyperstart.CONTROL_PORT, socket=run_dir / "agent.sock"),
                Port(name=hyperstart.STREAM_PORT, socket=run_dir / "tty.sock"),
            ),
            shares=(Share(tag=requests.SHARE_TAG, path=share_dir),),
            kernel_params=(
                f"vctui.protocol={config.protocol}",
                *(("agent.log=debug",) if debug or config.debug else ()),
            ),
        )

    async def connect(self, url: str, *, timeout: float) -> None:
        path = Path(url.removeprefix("unix://"))
        self._pod = path.parent.name
        try:
            self._session = await monitor_client.calls(path, timeout=timeout)
        except OSError as error:
            raise AgentUnreachable(
                f"nobody passes commands on to the agent in pod {self._pod!r}; try again, "
                "its monitor is started anew",
                code=ttrpc.UNAVAILABLE,
            ) from error
        said = await self._ask("version")
        self._version = int(said) if said.isdigit() else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def info(self) -> AgentInfo:
        name = "cc-agent" if self._version is None else f"hyperstart, API {self._version}"
        return AgentInfo(version=name, protocol=monitor.HYPERSTART)

    async def start_sandbox(
        self,
        *,
        pod_id: str,
        hostname: str,
        network: PodNetwork | None = None,
        shared_fs: SharedFs = SharedFs.NINE_P,
        volumes: Sequence[str] = (),
    ) -> None:
        await self._ask("startpod", requests.start_pod(hostname, network, self._version))

    async def update_network(self, network: PodNetwork) -> None:
        if self._version is None:
            raise AgentUnsupported(
                f"the agent in pod {self._pod!r} is told of its network when the pod starts, and "
                "never again; restart the pod",
                code=ttrpc.UNIMPLEMENTED,
            )
        for told in networks.interfaces(network, self._version):
            await self._ask("setupinterface", told)
        if routes := networks.routes(network, self._version):
            await self._ask("setuproute", {"routes": routes})

    async def forget_interface(self, name: str) -> None:
        """hyperstart from API 4244 on has a command for it; the kernel does without."""
        if self._version is not None and self._version > hyperstart.API_EVENTS:
            await self._ask("deleteinterface", {"device": name})

    def left_out(self, network: PodNetwork) -> str:
        return networks.left_out(network)

    async def stop_sandbox(self) -> None:
        try:
            await self._ask("destroypod", timeout=_GOODBYE)
        except AgentUnreachable:
            return  # hyperstart powers the guest off, and its answer may be lost with it

    async def create_container(self, spec: ContainerSpec) -> None:
        requests.new_container(spec, self._version)  # what cannot be asked for is said now
        self._created[spec.config.id] = spec

    async def start_container(self, container_id: str) -> None:
        spec = self._created.pop(container_id, None)
        if spec is None:
            raise AgentError(
                f"container {container_id!r} was not prepared on this connection; start it anew",
                code=ttrpc.FAILED_PRECONDITION,
            )
        data = requests.new_container(spec, self._version)
        cmd = spec.config.cmd
        closed = not (cmd.interactive or cmd.stdin or cmd.console)
        try:
            await self._ask("newcontainer", data, token=container_id, end_input=closed)
        except AgentUnreachable:
            raise
        except AgentError as error:
            raise words.command_failed(cmd.args[0], container_id, error) from error

    async def remove_container(self, container_id: str, *, timeout: float) -> None:
        """hyperstart has forgotten a container with its end; that is removed enough, and so is one
        that nothing runs in, whatever Clear Containers' agent calls it."""
        try:
            await self._ask(
                "removecontainer", {"container": container_id}, timeout=self._timeout + timeout
            )
        except AgentUnreachable:
            raise
        except AgentError:
            if self._version is None and await self._runs(container_id):
                raise

    async def _runs(self, container_id: str) -> bool:
        try:
            options = ProcessListOptions(format=ProcessListFormat.JSON)
            return bool(msgspec.json.decode(await self.processes(container_id, options)))
        except (AgentError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    async def exec(self, container_id: str, token: str, cmd: Cmd) -> None:
        process = requests.process(token, cmd, self._version, added=True)
        closed = cmd.detach and not (cmd.interactive or cmd.stdin or cmd.console)
        data = {"container": container_id, "process": process}
        try:
            await self._ask("execcmd", data, token=token, end_input=closed)
        except AgentUnreachable:
            raise
        except AgentError as error:
            raise words.command_failed(cmd.args[0], container_id, error) from error

    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        command, data = "killcontainer", {"container": container_id, "signal": signal}
        if token == container_id or all:
            data |= {"allProcesses": all}
        elif self._version is None or self._version < hyperstart.API_EVENTS + 1:
            raise AgentUnsupported(
                f"the agent in pod {self._pod!r} signals containers, not processes that were "
                f"added to them; signal container {container_id!r}",
                code=ttrpc.UNIMPLEMENTED,
            )
        else:
            command, data = "signalprocess", data | {"process": token}
        try:
            await self._ask(command, data)
        except AgentUnreachable:
            raise
        except AgentError as error:
            text = str(error)
            if signal != Signal.KILL and "no such" not in text:
                raise  # a container that is gone already is killed enough

    async def processes(self, container_id: str, options: ProcessListOptions) -> bytes:
        if self._version is not None:
            raise AgentUnsupported(
                f"the agent in pod {self._pod!r} lists no processes", code=ttrpc.UNIMPLEMENTED
            )
        wanted = {
            "container": container_id,
            "format": options.format.value,
            "psargs": list(options.args),
        }
        return await self._ask("pscontainer", wanted)

    async def read_file(self, container_id: str, path: str) -> bytes:
        self._check_files(path)
        return await self._ask("readfile", {"container": container_id, "file": path})

    async def write_file(self, container_id: str, path: str, data: bytes) -> None:
        self._check_files(path)
        if len(data) > _FILE_SENT:
            raise AgentUnsupported(
                f"the agent in pod {self._pod!r} takes a file of {_FILE_SENT} bytes at most",
                code=ttrpc.UNIMPLEMENTED,
            )
        await self._ask("writefile", {"container": container_id, "file": path}, file=data)

    def _check_files(self, path: str) -> None:
        """Raises AgentUnsupported where the agent has no files, or cannot be told of this one: its
        parser knows no escapes, and takes the first brace for the end."""
        told = path.isprintable() and len(path.encode()) <= _PATH_SENT
        if self._version is None or not told or set(path) & set('"\\}'):
            raise AgentUnsupported(
                f"the agent in pod {self._pod!r} cannot be asked for the file {path!r}",
                code=ttrpc.UNIMPLEMENTED,
            )

    async def online(self, *, vcpus: int, plugged: int) -> None:
        """hyperstart answers at once, and Clear Containers' agent does it by itself."""
        if self._version is not None:
            await self._ask("onlinecpumem")

    async def set_clock(self) -> None:
        """hyperstart has no command for it."""

    async def timeline(self) -> tuple[Step, ...]:
        return ()

    async def stats(self, container_ids: Sequence[str]) -> dict[str, ContainerStats]:
        """None: hyperstart has no command for it."""
        return {}

    async def _ask(
        self,
        command: str,
        data: dict[str, Any] | None = None,
        *,
        token: str = "",
        end_input: bool = False,
        file: bytes | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """Raises AgentUnreachable, AgentUnsupported, AgentError."""
        if self._session is None:
            raise AgentUnreachable("the agent is not connected", code=ttrpc.UNAVAILABLE)
        ask = {"token": token, "end_input": end_input, "data": data or {}, "file": file}
        body = msgspec.json.encode(ask)
        wait = timeout or self._timeout
        try:
            return await self._session.call(hyperstart.SERVICE, command, body, timeout=wait)
        except TimeoutError as error:
            raise self._unreachable(command, f"no answer within {wait:g} s") from error
        except CallFailed as error:
            said = words.sentence(error.message)
            if error.code == ttrpc.UNAVAILABLE:
                raise self._unreachable(command, said) from error
            raise AgentError(
                f"the agent in pod {self._pod!r} refused {command}: {said}", code=error.code
            ) from error

    def _unreachable(self, command: str, why: str) -> AgentUnreachable:
        return AgentUnreachable(
            f"the agent in pod {self._pod!r} cannot be asked for {command}: {why}; "
            "see the pod's status",
            code=ttrpc.UNAVAILABLE,
        )
