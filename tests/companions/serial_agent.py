"""Our agent's 1.x face behind a serial port of a machine, and a container in it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.guest.agent_program import AgentProgram
from vctui.drivers.grpc_client import Session
from vctui.linux import sockets
from vctui.wire.pb import agent_pb2, oci_pb2

AGENT = "grpc.AgentService"
WAIT = 20.0


@asynccontextmanager
async def channel(
    path: Path, serve: Callable[[socket.socket], Awaitable[None]]
) -> AsyncIterator[None]:
    """QEMU's side of the channel: one client at a time, each given to `serve`."""
    listening = sockets.listen(path)

    async def accept() -> None:
        while True:
            ours, _ = await asyncio.get_running_loop().sock_accept(listening)
            with ours:
                await serve(ours)

    task = asyncio.create_task(accept())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listening.close()


class Agents:
    """A new agent for each client, as after a restart of the guest."""

    def __init__(self, folder: Path, face: str = "vctui.protocol=grpc") -> None:
        self._folder = folder
        self._face = face
        self.started: list[AgentProgram] = []

    async def serve(self, sock: socket.socket) -> None:
        agent = AgentProgram([sock], self._folder, self._face)
        self.started.append(agent)
        while agent.runs:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def end(self) -> None:
        for agent in self.started:
            agent.end()


async def start(session: Session, *args: str) -> None:
    """A sandbox, and in it container `c1` with this command."""
    sandbox = agent_pb2.CreateSandboxRequest(sandbox_id="pod")
    await session.call(AGENT, "CreateSandbox", sandbox.SerializeToString(), timeout=WAIT)
    spec = oci_pb2.Spec(
        process=oci_pb2.Process(Args=args),
        root=oci_pb2.Root(Path="/"),
        linux=oci_pb2.Linux(Resources=oci_pb2.LinuxResources()),
    )
    wanted = agent_pb2.CreateContainerRequest(container_id="c1", exec_id="c1", OCI=spec)
    await session.call(AGENT, "CreateContainer", wanted.SerializeToString(), timeout=WAIT)
    begin = agent_pb2.StartContainerRequest(container_id="c1")
    await session.call(AGENT, "StartContainer", begin.SerializeToString(), timeout=WAIT)
