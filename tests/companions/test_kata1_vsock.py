"""A strict agent of Kata 1.x on vsock: gRPC without yamux, with our proxy and without one, with the
built-in shim and with kata-shims."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import msgspec
import pytest

from tests.companions.conftest import content, until
from tests.companions.life import WAIT, everything, helped, led, machine, on_vsock
from tests.fakes.kata1_agent import VERSION, Kata1Agent
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.drivers.proxies.no import NoProxy
from vctui.model.container import Cmd
from vctui.model.kinds import AgentProtocol, ProxyType, SocketType


@pytest.mark.parametrize("protocol", [AgentProtocol.GRPC, AgentProtocol.AUTO])
@pytest.mark.parametrize(
    ("proxy", "shim"), list(itertools.product((BuiltinProxy, NoProxy), ((), ("shim",))))
)
async def test_a_container_runs_and_is_executed_in(
    tmp_path: Path, protocol: AgentProtocol, proxy: type[BuiltinProxy], shim: tuple[str, ...]
):
    qemu = machine(tmp_path)
    guest = Kata1Agent(qemu.run_dir / "unused.sock")
    config = helped(tmp_path, *shim)
    if proxy is NoProxy:
        config = msgspec.structs.replace(config, proxy_type=ProxyType.NO)
    how = {"protocol": protocol, "proxy": proxy, "socket_type": SocketType.HYBRID}
    async with (
        asyncio.timeout(WAIT * 2),
        qemu,
        on_vsock(qemu, qemu.run_dir / "grpc.sock") as vsock,
        guest,
        led(tmp_path, qemu, guest, config=config, **how) as life,
    ):
        assert life.url == f"grpc+unix://{qemu.run_dir / 'proxy.sock'}"  # grpcio has no vsock
        assert (await life.agent.info()).version == VERSION
        await life.start(Cmd(args=("/bin/sh", "-c", "echo out; exec sleep 1000")))
        await until(lambda: b"stdout F out" in content(life.pod.container_log))
        cmd = Cmd(args=("/bin/sh", "-c", "cat; echo no >&2; exit 7"), stdin=True)
        cat = await life.exec("e1", cmd)
        await cat.write(b"x" * 300_000)
        await cat.close_stdin()
        assert await everything(cat) == (b"x" * 300_000, b"no\n", 7)
        await life.agent.remove_container("c1", timeout=5)
        await life.agent.stop_sandbox()
    assert vsock.clients >= 2
    assert guest.sessions == []  # nobody tried the serial port
