"""A strict agent of Kata 1.x on vsock: gRPC without yamux, with our proxy and without one, with the
built-in shim and with kata-shims."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import msgspec
import pytest

from tests.companions.conftest import POD, Pod, content, running_monitor, until
from tests.companions.test_kata1 import Life, everything, programs
from tests.fakes.fake_qemu import FakeQemu
from tests.fakes.hybrid_vsock import HybridVsock
from tests.fakes.kata1_agent import VERSION, Kata1Agent
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.drivers.proxies.no import NoProxy
from vctui.model.container import Cmd
from vctui.model.kinds import AgentProtocol, ProxyType, SocketType
from vctui.model.state import State
from vctui.settings import Settings

WAIT = 30.0
VSOCK = SocketType.HYBRID


@pytest.mark.parametrize("protocol", [AgentProtocol.GRPC, AgentProtocol.AUTO])
@pytest.mark.parametrize(
    ("proxy", "shim"), list(itertools.product((BuiltinProxy, NoProxy), ((), ("shim",))))
)
async def test_a_container_runs_and_is_executed_in(
    tmp_path: Path, protocol: AgentProtocol, proxy: type[BuiltinProxy], shim: tuple[str, ...]
):
    run_dir = tmp_path / "run" / "pods" / POD
    (run_dir / "share").mkdir(parents=True)
    qemu = FakeQemu(run_dir)
    qemu.has_agent = False
    guest = Kata1Agent(run_dir / "unused.sock")
    vsock = HybridVsock(run_dir / "vsock.sock", run_dir / "grpc.sock")
    config = programs(tmp_path, *shim)
    if proxy is NoProxy:
        config = msgspec.structs.replace(config, proxy_type=ProxyType.NO)
    async with asyncio.timeout(WAIT * 2), qemu, vsock, guest:
        qemu.machine = msgspec.structs.replace(qemu.machine, vsock=f"hvsock://{vsock.path}")
        pod = Pod(tmp_path, qemu)
        pod.record(state=State.READY, operation="start", config=config)
        agent = KataAgent(timeout=WAIT)
        async with running_monitor(pod, protocol=protocol, socket_type=VSOCK):
            way = proxy(Settings(), protocol, socket_type=VSOCK)
            url = await way.wait_agent(run_dir, timeout=WAIT)
            assert url == f"grpc+unix://{run_dir / 'proxy.sock'}"  # grpcio has no vsock
            await agent.connect(url, timeout=WAIT)
            try:
                life = Life(pod, guest, agent)
                assert (await agent.info()).version == VERSION
                await life.start(Cmd(args=("/bin/sh", "-c", "echo out; exec sleep 1000")))
                await until(lambda: b"stdout F out" in content(pod.container_log))
                cmd = Cmd(args=("/bin/sh", "-c", "cat; echo no >&2; exit 7"), stdin=True)
                cat = await life.exec("e1", cmd)
                await cat.write(b"x" * 300_000)
                await cat.close_stdin()
                assert await everything(cat) == (b"x" * 300_000, b"no\n", 7)
                await agent.remove_container("c1", timeout=5)
                await agent.stop_sandbox()
            finally:
                await agent.close()
        pod.store.close()
    assert vsock.clients >= 2
    assert guest.sessions == []  # nobody tried the serial port
