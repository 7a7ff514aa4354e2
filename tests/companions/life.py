"""A pod's life with an agent that stands for a release of Kata, as the engine leads it: its driver,
proxy and shim, and the monitor between them and the agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from tests.companions.conftest import POD, Pod, running_monitor
from tests.fakes.fake_qemu import FakeQemu
from tests.fakes.hybrid_vsock import HybridVsock
from tests.fakes.kata1_agent import Kata1Agent
from tests.fakes.kata3_agent import Kata3Agent
from tests.fakes.programs import executable
from vctui.drivers.agents.base import ContainerSpec, GuestDevice
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.drivers.shims.base import Attachment
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.kinds import (
    AgentProtocol,
    EndpointType,
    NetInterworkingModel,
    ProxyType,
    ShimType,
    SocketType,
)
from vctui.model.network import Endpoint, Interface, PodNetwork, Route
from vctui.model.pod import PodConfig
from vctui.model.proxy import ProxyConfig
from vctui.model.shim import ShimConfig
from vctui.model.state import State
from vctui.settings import Settings

WAIT = 30.0
Guest = TypeVar("Guest", Kata1Agent, Kata3Agent)


@dataclass
class Life(Generic[Guest]):
    """A pod, its monitor, the guest's agent, and the engine's driver connected to it."""

    pod: Pod
    guest: Guest
    agent: KataAgent
    url: str
    """Where the driver was sent."""
    monitor: AsyncExitStack
    """Closed, the monitor leaves."""
    network: PodNetwork | None = None

    async def start(self, cmd: Cmd, **fields: object) -> None:
        """Sandbox and container `c1`, as engine/container.py has it."""
        await self.agent.start_sandbox(pod_id=POD, hostname=POD, network=self.network)
        await self.launch(cmd, **fields)

    async def launch(
        self, cmd: Cmd, *, devices: tuple[GuestDevice, ...] = (), **fields: object
    ) -> None:
        config = ContainerConfig(id="c1", rootfs="busybox", cmd=cmd, **fields)  # type: ignore[arg-type]
        spec = ContainerSpec(config=config, hostname=POD, rootfs="c1/rootfs", devices=devices)
        await self.agent.create_container(spec)
        await self.pod.start_shim(terminal=cmd.interactive)
        await self.agent.start_container("c1")

    async def exec(self, token: str, cmd: Cmd) -> Attachment:
        await self.agent.exec("c1", token, cmd)
        await self.pod.start_shim(token, terminal=cmd.interactive)
        return await self.pod.shim.attach(self.pod.run_dir, token)

    async def ended(self, token: str = "c1") -> int | None:
        return await self.pod.shim.wait(self.pod.run_dir, token)


def network(mac: str, *, ipv6: str = "", pci_path: str = "", gateway: str = "") -> PodNetwork:
    """Of one card."""
    addresses = ("10.0.0.2/24", *((ipv6,) if ipv6 else ()))
    endpoint = Endpoint(
        type=EndpointType.VETH,
        index=0,
        interface=Interface(name="eth0", mac=mac, mtu=1500, addresses=addresses),
        model=NetInterworkingModel.TC_FILTER,
        pci_path=pci_path,
    )
    routes = (Route(dest="", gateway=gateway, device="eth0"),) if gateway else ()
    return PodNetwork(
        namespace="/run/netns/web", created=True, endpoints=(endpoint,), routes=routes
    )


async def everything(attachment: Attachment) -> tuple[bytes, bytes, int | None]:
    """Both outputs of a process, and its exit status."""
    said = {1: b"", 2: b""}
    async for piece in attachment:
        said[piece.stream] += piece.data
    return said[1], said[2], attachment.exit_code


def helped(folder: Path, *helpers: str) -> PodConfig:
    """A pod with programs of its own for `proxy`, for `shim` or for both."""
    config = PodConfig(id=POD)
    if "proxy" in helpers:
        program = ProxyConfig(path=str(executable(folder, "kata_proxy")))
        config = msgspec.structs.replace(config, proxy_type=ProxyType.KATA, proxy_config=program)
    if "shim" in helpers:
        shim = ShimConfig(path=str(executable(folder, "kata_shim")))
        config = msgspec.structs.replace(config, shim_type=ShimType.KATA, shim_config=shim)
    return config


def machine(root: Path) -> FakeQemu:
    """The pod's, without the agent that it has by itself."""
    run_dir = root / "run" / "pods" / POD
    (run_dir / "share").mkdir(parents=True)
    qemu = FakeQemu(run_dir)
    qemu.has_agent = False
    return qemu


async def _nothing() -> None:
    pass


@asynccontextmanager
async def led(
    root: Path,
    qemu: FakeQemu,
    guest: Guest,
    *,
    protocol: AgentProtocol,
    config: PodConfig = PodConfig(id=POD),  # noqa: B008 - frozen
    proxy: type[BuiltinProxy] = BuiltinProxy,
    socket_type: SocketType = SocketType.UNIX,
    network: PodNetwork | None = None,
    boot: Callable[[], Awaitable[None]] = _nothing,
) -> AsyncIterator[Life[Guest]]:
    """From when the agent answers, which runs already. `boot` is what the guest does when the
    monitor is there."""
    pod = Pod(root, qemu)
    pod.record(state=State.READY, operation="start", config=config)
    agent = KataAgent(timeout=WAIT)
    way = proxy(Settings(), protocol, socket_type=socket_type)
    async with AsyncExitStack() as monitor:
        await monitor.enter_async_context(
            running_monitor(
                pod, protocol=protocol, socket_type=socket_type, proxy=config.proxy_config
            )
        )
        await boot()
        url = await way.wait_agent(pod.run_dir, timeout=WAIT)
        await agent.connect(url, timeout=WAIT)
        try:
            yield Life(pod, guest, agent, url, monitor, network)
        finally:
            await agent.close()
    pod.store.close()
    assert guest.sins == []


@asynccontextmanager
async def on_vsock(qemu: FakeQemu, inside: Path) -> AsyncIterator[HybridVsock]:
    """A vsock device of a machine that runs, with the agent's port at `inside`."""
    async with HybridVsock(qemu.run_dir / "vsock.sock", inside) as vsock:
        qemu.machine = msgspec.structs.replace(qemu.machine, vsock=f"hvsock://{vsock.path}")
        yield vsock
