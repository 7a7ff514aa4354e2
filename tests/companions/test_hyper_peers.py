"""Whole lives of pods, from the agent's driver through a monitor to guests that are as strict as
hyperstart and Clear Containers' agent are, with and without a cc-proxy between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.companions.conftest import POD, Pod, running_monitor, until
from tests.drivers.agents.test_hyperstart_network import NETWORK
from tests.fakes.fake_qemu import FakeQemu
from tests.fakes.hyper_peers import Guest
from tests.fakes.programs import executable
from vctui.companions.monitor import cc_link
from vctui.drivers.agents.base import ContainerSpec
from vctui.drivers.agents.hyperstart.agent import HyperstartAgent
from vctui.drivers.shims.base import Attachment, ShimParams
from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import AgentError, AgentUnreachable, AgentUnsupported, CommandFailed
from vctui.linux import process
from vctui.model.container import Cmd, ContainerConfig, ProcessListOptions
from vctui.model.events import EventKind
from vctui.model.kinds import AgentProtocol, AgentType, ProxyType, ShimType
from vctui.model.pod import PodConfig
from vctui.model.proxy import ProxyConfig
from vctui.model.shim import ShimConfig
from vctui.model.state import State
from vctui.wire import hyperstart

WAIT = 30.0


@dataclass(frozen=True)
class Kind:
    version: int | None
    proxy: ProxyType = ProxyType.BUILTIN
    shim: ShimType = ShimType.BUILTIN
    programs: bool = False
    """Of others."""

    @property
    def protocol(self) -> AgentProtocol:
        behind = self.proxy is ProxyType.CC
        return AgentProtocol.CC_AGENT if behind else AgentProtocol.HYPERSTART

    def config(self, folder: Path) -> PodConfig:
        path = str(executable(folder, "cc_proxy")) if self.programs else ""
        shim = str(executable(folder, "cc_shim")) if self.shim is ShimType.CC else ""
        return PodConfig(
            id=POD,
            agent_type=AgentType.HYPERSTART,
            proxy_type=self.proxy,
            proxy_config=ProxyConfig(path=path),
            shim_type=self.shim,
            shim_config=ShimConfig(path=shim),
        )


CC = ProxyType.CC
KINDS = {
    "hyperstart 4244": Kind(4244),
    "hyperstart 4242": Kind(4242),
    "cc-agent": Kind(None),
    "cc-agent, our cc-proxy": Kind(None, CC),
    "cc-agent, cc-proxy": Kind(None, CC, programs=True),
    "cc-agent, cc-proxy, cc-shim": Kind(None, CC, ShimType.CC, programs=True),
}


class Side:
    """A pod whose monitor runs, the guest behind it, and a connection of the driver's."""

    def __init__(self, pod: Pod, guest: Guest, agent: HyperstartAgent) -> None:
        self.pod, self.guest, self.agent = pod, guest, agent

    async def stand(self, token: str, *, terminal: bool = False) -> None:
        params = ShimParams(container_id="c1", token=token, terminal=terminal, log=token == "c1")
        await self.pod.shim.start(self.pod.run_dir, params)

    async def container(self, *args: str, **more: object) -> None:
        cmd = Cmd(args=args, **more)
        config = ContainerConfig(id="c1", rootfs="/r", cmd=cmd)
        await self.agent.create_container(
            ContainerSpec(config=config, hostname="web", rootfs="c1/rootfs")
        )
        await self.stand("c1", terminal=cmd.interactive)
        await self.agent.start_container("c1")

    async def exec(self, token: str, *args: str, **more: object) -> None:
        cmd = Cmd(args=args, **more)
        await self.stand(token, terminal=cmd.interactive)
        await self.agent.exec("c1", token, cmd)

    async def attach(self, token: str) -> Attachment:
        return await self.pod.shim.attach(self.pod.run_dir, token, replay=4096)

    async def output(self, token: str) -> dict[int, bytes]:
        said: dict[int, bytes] = {}
        async for one in await self.attach(token):
            said[one.stream] = said.get(one.stream, b"") + one.data
        return said

    async def status(self, token: str) -> int | None:
        return await self.pod.shim.wait(self.pod.run_dir, token)


@asynccontextmanager
async def running(
    root: Path, kind: Kind, *, greets: bool = True, config: PodConfig | None = None
) -> AsyncIterator[Side]:
    run_dir = root / "run" / "pods" / POD
    (run_dir / "share").mkdir(parents=True)
    qemu = FakeQemu(run_dir)
    qemu.has_agent = False
    async with asyncio.timeout(WAIT * 2), qemu, Guest(run_dir, kind.version) as guest:
        pod = Pod(root, qemu)
        try:
            pod.record(state=State.READY, operation="start")
            config = config or kind.config(root)
            pod.change(config=config)
            guest.is_greeted = not greets
            async with running_monitor(pod, proxy=config.proxy_config, protocol=kind.protocol):
                await qemu.open_port()
                await pod.await_agent(WAIT)
                agent = HyperstartAgent(timeout=WAIT)
                await agent.connect(f"unix://{run_dir}/monitor.sock", timeout=WAIT)
                yield Side(pod, guest, agent)
                await agent.close()
                qemu.kill()
                guest._die("the machine has ended")
                await until(lambda: not process.find_by_argument(run_dir))
        finally:
            pod.store.close()
            for left in process.find_by_argument(run_dir):  # where the test has failed
                await process.terminate(left.pid, left.started, timeout=0)


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


async def test_a_pod_lives_its_whole_life(tmp_path: Path, kind: Kind):
    async with running(tmp_path, kind) as side:
        agent, guest = side.agent, side.guest
        assert ("cc-agent" in (await agent.info()).version) is guest.is_cc
        await agent.start_sandbox(pod_id=POD, hostname="web", network=NETWORK)
        await side.container("sleep")
        await side.exec("t1", "echo", "hello")
        assert await side.output("t1") == {1: b"hello\n", 2: b"said\n"}
        assert await side.status("t1") == 0
        await side.exec("t2", "exit", "7")
        assert await side.status("t2") == 7
        await side.exec("t3", "cat", stdin=True)
        client = await side.attach("t3")
        await client.write(b"x" * 4000)  # of which hyperstart has room for 512 at once
        await client.close_stdin()
        assert b"".join([one.data async for one in client]) == b"x" * 4000
        assert client.exit_code == 0
        with pytest.raises(CommandFailed if guest.is_cc else AgentError):
            await side.exec("t4", "/nowhere")
        assert await side.status("t4") is None
        await agent.signal("c1", "c1", 15, all=False)
        assert await side.status("c1") == (143 if guest.is_cc else 0)
        await agent.remove_container("c1", timeout=1)
        if not guest.is_cc:
            plugged = msgspec.structs.replace(NETWORK, pending=("inner",))
            await agent.update_network(plugged)
        await agent.forget_interface("inner")
        await agent.online(vcpus=2, plugged=1)
        await side.container("exit", "3")
        assert await side.status("c1") == 3
        await agent.remove_container("c1", timeout=1)
        await agent.stop_sandbox()
        assert guest.why_dead == ("" if guest.is_cc else "powered off")


@pytest.mark.parametrize("name", ["cc-agent", "cc-agent, our cc-proxy"])
@pytest.mark.parametrize("piece", [4096, 1021])
async def test_no_header_of_much_input_comes_in_two_buffers(tmp_path: Path, name: str, piece: int):
    """Clear Containers' agent reads each with one read(2), and hears no input any more after a
    short one."""
    data = bytes(range(256)) * 512
    async with running(tmp_path, KINDS[name]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        await side.exec("t1", "cat", stdin=True)
        client = await side.attach("t1")

        async def type_in() -> None:
            for at in range(0, len(data), piece):
                await client.write(data[at : at + piece])
            await client.close_stdin()

        typing = asyncio.create_task(type_in())
        said = b"".join([one.data async for one in client])
        await typing
        assert (side.guest.why_dead, said == data, client.exit_code) == ("", True, 0)


async def test_a_terminal_has_its_size(tmp_path: Path, kind: Kind):
    async with running(tmp_path, kind) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("cat", interactive=True)
        client = await side.attach("c1")
        await client.resize(33, 111)
        (init,) = side.guest.inits.values()
        await until(lambda: (33, 111) in init.sizes)
        await client.write(b"typed")
        async for one in client:
            assert one.data == b"typed"
            break
        await side.agent.signal("c1", "c1", 9, all=True)
        await side.status("c1")


async def test_processes_that_were_added_are_signalled_by_who_can(tmp_path: Path, kind: Kind):
    async with running(tmp_path, kind) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        await side.exec("t1", "sleep")
        if kind.version == 4244:
            await side.agent.signal("c1", "t1", 15, all=False)
            assert await side.status("t1") == 0
        else:
            with pytest.raises(AgentUnsupported, match="not processes that were added"):
                await side.agent.signal("c1", "t1", 15, all=False)
        if side.guest.is_cc:
            listed = await side.agent.processes("c1", ProcessListOptions(args=("-e",)))
            assert listed == b"PID CMD\n7 -e\n"
        else:
            with pytest.raises(AgentUnsupported):
                await side.agent.processes("c1", ProcessListOptions())


async def test_files_are_copied_by_who_has_commands_for_it(tmp_path: Path, kind: Kind):
    """And answers that are longer than anybody takes are refused, not the end of the channel."""
    async with running(tmp_path, kind) as side:
        agent, files = side.agent, side.guest.files
        await agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        if side.guest.is_cc:
            with pytest.raises(AgentUnsupported):
                await agent.read_file("c1", "/x")
            with pytest.raises(AgentUnsupported):
                await agent.write_file("c1", "/x", b"")
            assert not {15, 16} & {command for command, _ in side.guest.commands}
            return
        for data in (b"", b"}{a}\0\xff", b"x" * 8192):
            await agent.write_file("c1", "/tmp/ö x", data)
            assert files == {("c1", "/tmp/ö x"): data}
            assert await agent.read_file("c1", "/tmp/ö x") == data
        await agent.write_file("c1", "/" + "ö" * 511, b"x" * 8192)  # all of a frame that is needed
        for path in ("/a}b", '/a"b', "/a\\b", "/a\nb", "/" + "x" * 1024):
            with pytest.raises(AgentUnsupported, match="cannot be asked for the file"):
                await agent.write_file("c1", path, b"")
        with pytest.raises(AgentUnsupported, match="8192 bytes at most"):
            await agent.write_file("c1", "/big", b"x" * 8193)
        with pytest.raises(AgentError, match="refused readfile"):
            await agent.read_file("c1", "/none")
        with pytest.raises(AgentError, match="refused writefile"):
            await agent.write_file("c2", "/x", b"")
        files["c1", "/long"] = b"x" * hyperstart.MAX_FILE
        assert await agent.read_file("c1", "/long") == files["c1", "/long"]
        files["c1", "/long"] += b"y"
        with pytest.raises(AgentError, match="has more than 4190208 bytes"):
            await agent.read_file("c1", "/long")
        assert await agent.read_file("c1", "/tmp/ö x") == b"x" * 8192


async def test_what_runs_when_the_pod_ends_keeps_nothing_up(tmp_path: Path):
    """hyperstart powers off, and its answer is lost with it."""
    async with running(tmp_path, KINDS["hyperstart 4244"]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        stopping = asyncio.create_task(side.agent.stop_sandbox())
        await side.guest.dead.wait()
        await side.pod.qemu.close_port()
        await stopping


# a cc-proxy's own


@pytest.mark.parametrize("name", ["cc-agent, our cc-proxy", "cc-agent, cc-proxy, cc-shim"])
async def test_a_cc_proxy_that_dies_is_reported_and_nobody_waits(tmp_path: Path, name: str):
    async with running(tmp_path, KINDS[name]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        (proxy,) = process.find_by_argument(side.pod.run_dir / "proxy.sock", beside=["-uri"])
        await process.terminate(proxy.pid, proxy.started, timeout=0)
        said = await side.pod.until_event(EventKind.WARNING)
        assert said.startswith(f"cc-proxy (process {proxy.pid}) was killed by signal 9")
        assert said.endswith("restart the pod")
        with pytest.raises(AgentUnreachable, match="was killed by signal 9"):
            await side.agent.signal("c1", "c1", 9, all=True)
        assert await side.status("c1") is None  # a cc-shim that tries to come back is not awaited


@pytest.mark.parametrize("version", [4242, 4244])
@pytest.mark.parametrize("programs", [False, True])
async def test_hyperstart_behind_a_cc_proxy_is_refused_with_a_remedy(
    tmp_path: Path, version: int, programs: bool
):
    async with running(tmp_path, Kind(version, CC, programs=programs)) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        with pytest.raises(AgentError, match="refused newcontainer: it gives no reason") as caught:
            await side.container("sleep")
        assert "set proxy_type to kataBuiltInProxy" in str(caught.value)
        assert await side.status("c1") is None
        with pytest.raises(AgentError, match=r"refused removecontainer: it gives no reason$"):
            await side.agent._ask("removecontainer", {"container": "c1"})


async def test_a_cc_proxy_is_asked_one_thing_at_a_time(tmp_path: Path):
    """It tells who waits for an answer by the order of the questions, and may be wrong."""
    async with running(tmp_path, KINDS["cc-agent, cc-proxy"]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        tokens = [f"t{number}" for number in range(4)]
        for token in tokens:
            await side.stand(token)
        cmd = Cmd(args=("echo", "hello"))
        listed, *_ = await asyncio.gather(
            side.agent.processes("c1", ProcessListOptions(args=("-e",))),
            *(side.agent.exec("c1", token, cmd) for token in tokens),
        )
        assert listed == b"PID CMD\n7 -e\n"
        assert [await side.status(token) for token in tokens] == [0] * 4


@pytest.mark.parametrize(
    "name", ["hyperstart 4244", "cc-agent, our cc-proxy", "cc-agent, cc-proxy"]
)
async def test_where_nobody_stands_for_a_process_its_output_goes_nowhere(tmp_path: Path, name: str):
    async with running(tmp_path, KINDS[name]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        for number in range(2):
            cmd = Cmd(args=("echo", str(number)))
            config = ContainerConfig(id=f"c{number}", rootfs="/r", cmd=cmd)
            spec = ContainerSpec(config=config, hostname="web", rootfs="c/rootfs")
            await side.agent.create_container(spec)
            await side.agent.start_container(f"c{number}")
            processes = side.guest.processes.values()
            await next(one for one in processes if one.container == f"c{number}").ended.wait()


async def test_a_cc_shim_that_is_killed_takes_its_process_along(tmp_path: Path):
    async with running(tmp_path, KINDS["cc-agent, cc-proxy, cc-shim"]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        (shim,) = process.find_by_argument(side.pod.run_dir / "proxy.sock", beside=["-c", "c1"])
        await process.terminate(shim.pid, shim.started, timeout=0)
        assert await side.status("c1") is None
        await side.guest.inits["c1"].ended.wait()


async def test_a_cc_shim_that_fails_with_the_guest_tells_no_status(tmp_path: Path):
    """The proxy does not know its token any more, and it ends with 1."""
    async with running(tmp_path, KINDS["cc-agent, cc-proxy, cc-shim"]) as side:
        await side.agent.start_sandbox(pod_id=POD, hostname="web")
        await side.container("sleep")
        await side.exec("t1", "sleep")
        side.guest._die("the machine ends, of which the monitor does not hear")
        waiting = asyncio.create_task(side.status("t1"))
        await until(lambda: len(process.find_by_argument(side.pod.run_dir, beside=["-c"])) == 0)
        side.pod.qemu.kill()
        assert await waiting is None


@pytest.mark.parametrize("name", ["cc-agent, our cc-proxy", "cc-agent, cc-proxy"])
async def test_a_guest_that_does_not_greet_is_given_up(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cc_link, "_GREETING", 0.3)
    with pytest.raises(CallFailed, match=r"cc-proxy has not heard of the agent within 0.3 s"):
        async with running(tmp_path, KINDS[name], greets=False):
            pass
    assert not process.find_by_argument(tmp_path)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no syslog >&2; exit 1", r"cc-proxy \(process \d+\) ended: no syslog"),
        ("exec sleep 1000", "cc-proxy does not take the guest"),
    ],
)
async def test_a_cc_proxy_that_does_not_serve_is_given_up_with_its_words(
    tmp_path: Path, script: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cc_link, "_DIAL", 0.3)
    program = tmp_path / "broken"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    kind = KINDS["cc-agent, cc-proxy"]
    config = msgspec.structs.replace(
        kind.config(tmp_path), proxy_config=ProxyConfig(path=str(program))
    )
    with pytest.raises(CallFailed, match=said):
        async with running(tmp_path, kind, config=config):
            pass
    assert not process.find_by_argument(tmp_path)
