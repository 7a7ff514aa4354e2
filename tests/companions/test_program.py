"""The monitor as the process it is: started by the proxy, killed, small, quick."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.companions.conftest import POD, WAIT, Pod, until
from vctui.drivers.proxies.base import ProxyHandle
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.errors import AgentUnreachable, MachineDied, MonitorError
from vctui.linux import process
from vctui.model.events import EventKind
from vctui.model.state import State
from vctui.settings import Logs, Paths, Settings

MEMORY_LIMIT = 25 << 20
"""Bytes of resident memory (design section 11)."""
RATE = 20e6
"""Bytes a second through into a log; of the monitor's own time, as hosts of tests are busy."""


@pytest.fixture
async def proxy(pod: Pod) -> AsyncIterator[BuiltinProxy]:
    settings = Settings(
        paths=Paths(state_dir=str(pod.state_dir)), logs=Logs(max_bytes=256 << 20, replay_bytes=4096)
    )
    yield BuiltinProxy(settings)
    for left in process.find_by_argument(pod.run_dir):
        await process.terminate(left.pid, left.started, timeout=0)


async def started(proxy: BuiltinProxy, pod: Pod) -> ProxyHandle:
    return await proxy.start(pod_id=POD, run_dir=pod.run_dir)


def memory(pid: int) -> int:
    """Resident bytes."""
    return psutil.Process(pid).memory_info().rss


async def test_the_proxy_starts_waits_and_stops(proxy: BuiltinProxy, pod: Pod):
    pod.record(state=State.READY, operation="start")
    handle = await started(proxy, pod)
    assert proxy.alive(handle.pid, handle.pid_started)
    assert (pod.run_dir / "monitor.sock").stat().st_mode & 0o777 == 0o600
    assert os.getsid(handle.pid) == handle.pid
    with pytest.raises(AgentUnreachable):
        await proxy.wait_agent(pod.run_dir, timeout=0.1)
    await pod.qemu.open_port()
    await proxy.wait_agent(pod.run_dir, timeout=WAIT)
    for _ in range(2):
        await proxy.stop(pod.run_dir, pid=handle.pid, pid_started=handle.pid_started, timeout=WAIT)
    assert not proxy.alive(handle.pid, handle.pid_started)
    assert not (pod.run_dir / "monitor.sock").exists()
    assert (pod.run_dir / "monitor.log").read_bytes() == b""


async def test_one_that_was_launched_early_looks_for_its_machine_when_it_is_called(
    proxy: BuiltinProxy, pod: Pod
):
    proxy.launch(pod_id=POD, run_dir=pod.run_dir)
    [early] = process.find_by_argument(pod.run_dir)
    pod.record(state=State.READY, operation="start")
    handle = await started(proxy, pod)
    assert (handle.pid, handle.pid_started) == (early.pid, early.started)
    await pod.qemu.open_port()
    await proxy.wait_agent(pod.run_dir, timeout=WAIT)
    await proxy.stop(pod.run_dir, pid=handle.pid, pid_started=handle.pid_started, timeout=WAIT)


async def test_one_that_nobody_calls_goes_when_it_is_told(proxy: BuiltinProxy, pod: Pod):
    proxy.launch(pod_id=POD, run_dir=pod.run_dir)
    [early] = process.find_by_argument(pod.run_dir)
    await process.terminate(early.pid, early.started, timeout=WAIT)
    assert not proxy.alive(early.pid, early.started)


async def test_a_machine_that_ends_while_it_boots_is_an_error(proxy: BuiltinProxy, pod: Pod):
    pod.record(state=State.READY, operation="start")
    handle = await started(proxy, pod)
    waiting = asyncio.create_task(proxy.wait_agent(pod.run_dir, timeout=WAIT))
    await pod.qemu.shut_down("guest-shutdown")
    with pytest.raises(MachineDied, match="powered itself off"):
        await waiting
    async with asyncio.timeout(WAIT):
        await process.wait_end(handle.pid, handle.pid_started)


async def test_a_monitor_that_dies_at_once_is_an_error_with_its_words(
    proxy: BuiltinProxy, pod: Pod
):
    with pytest.raises(MonitorError, match="has no virtual machine to watch"):
        await started(proxy, pod)
    assert process.find_by_argument(pod.run_dir) == []


async def test_a_killed_monitor_is_replaced_and_nothing_is_lost(proxy: BuiltinProxy, pod: Pod):
    pod.record()
    init = pod.agent.process("c1")
    pod.qemu.qmp.open_ports.add("agent.channel.0")
    first = await started(proxy, pod)
    await init.print(b"before\n")
    await pod.until_log(pod.container_log, b"before\n")
    await pod.agent.until_called("ReadStdout", 2)

    os.kill(first.pid, signal.SIGKILL)
    await process.wait_end(first.pid, first.pid_started)
    await pod.agent.disconnected()
    await init.print(b"between\n")
    pod.agent.greeting = b"\x00\x00\x00\x09 half a frame"  # what the dead one had begun to read
    second = await started(proxy, pod)
    await pod.until_log(pod.container_log, b"between\n")
    await init.end(3)
    assert await pod.shim.wait(pod.run_dir, "c1") == 3
    assert len(pod.events(EventKind.MONITOR_ADOPTED)) == 2
    assert pod.container_log.read_bytes().count(b"between") == 1
    await proxy.stop(pod.run_dir, pid=second.pid, pid_started=second.pid_started, timeout=WAIT)


async def test_a_hangup_is_ignored(proxy: BuiltinProxy, pod: Pod):
    pod.record()
    pod.qemu.qmp.open_ports.add("agent.channel.0")
    handle = await started(proxy, pod)
    os.kill(handle.pid, signal.SIGHUP)
    await proxy.wait_agent(pod.run_dir, timeout=WAIT)
    assert proxy.alive(handle.pid, handle.pid_started)


async def test_a_monitor_is_small_and_quick(proxy: BuiltinProxy, pod: Pod):
    pod.record(state=State.READY, operation="start")
    handle = await started(proxy, pod)
    await pod.qemu.open_port()
    await proxy.wait_agent(pod.run_dir, timeout=WAIT)
    init = pod.agent.process("c1")
    line = b"the quick brown fox jumps over the lazy dog, as it does since 1885\n"
    text = line * (40_000_000 // len(line))
    await init.print(text)
    await pod.start_shim()
    monitor = psutil.Process(handle.pid)
    before = sum(monitor.cpu_times()[:2])
    await init.end(0)
    assert await pod.shim.wait(pod.run_dir, "c1") == 0
    taken = sum(monitor.cpu_times()[:2]) - before
    assert pod.container_log.stat().st_size > len(text)
    assert len(text) / max(taken, 0.01) > RATE
    assert memory(handle.pid) < MEMORY_LIMIT


async def test_console_output_does_not_make_it_grow(proxy: BuiltinProxy, pod: Pod):
    pod.record()
    handle = await started(proxy, pod)
    console = await pod.shim.console(pod.run_dir)
    block = os.urandom(1 << 20)
    for _ in range(32):
        await pod.qemu.serial.send(block)
    log = pod.run_dir / "logs" / "console.log"
    await until(lambda: log.exists() and log.stat().st_size >= 32 << 20)
    assert memory(handle.pid) < MEMORY_LIMIT
    await console.detach()
