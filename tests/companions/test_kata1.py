"""A pod's whole life with a strict agent of Kata 1.x: the engine's driver, proxy and shim, and the
monitor between them and it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import msgspec
import pytest

from tests.companions.conftest import POD, content, running_monitor, until
from tests.companions.life import WAIT, Life, everything, helped, led, machine, network
from tests.fakes.kata1_agent import MAC, SHARE, VERSION, Kata1Agent
from vctui.companions.monitor import port
from vctui.companions.monitor.grpc_link import GrpcLink
from vctui.drivers.agents.base import ContainerSpec
from vctui.drivers.agents.kata import agent as kata
from vctui.drivers.grpc_client import Session
from vctui.drivers.ttrpc_client import ConnectionLost
from vctui.errors import AgentError, AgentUnreachable, AgentUnsupported, CommandFailed
from vctui.linux import process
from vctui.model.container import Cmd, ContainerConfig, Mount, ProcessListOptions
from vctui.model.events import EventKind
from vctui.model.kinds import (
    AgentProtocol,
    ProcessListFormat,
)
from vctui.model.network import Route
from vctui.model.state import State


@asynccontextmanager
async def living(
    root: Path,
    *helpers: str,
    protocol: AgentProtocol = AgentProtocol.GRPC,
    is_slow: bool = False,
    **guest_has: object,
) -> AsyncIterator[Life[Kata1Agent]]:
    qemu = machine(root)

    async def tell(is_open: bool) -> None:
        await (qemu.open_port() if is_open else qemu.close_port())

    guest = Kata1Agent(qemu.run_dir / "agent.sock", on_port=tell, **guest_has)  # type: ignore[arg-type]

    async def boot() -> None:
        if is_slow:
            guest.reads.clear()
        await tell(True)
        if is_slow:
            await until(lambda: guest.waiting)
            guest.reads.set()

    config = helped(root, *helpers)
    async with (
        asyncio.timeout(WAIT * 2),
        qemu,
        guest,
        led(root, qemu, guest, protocol=protocol, config=config, boot=boot) as life,
    ):
        assert life.url.startswith("grpc+unix://")
        yield life


@pytest.fixture(
    params=[(), ("proxy",), ("shim",), ("proxy", "shim")],
    ids=["built in", "kata-proxy", "kata-shim", "kata-proxy and kata-shim"],
)
async def life(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Life[Kata1Agent]]:
    async with living(tmp_path, *request.param) as one:
        yield one


async def test_a_pods_whole_life(life: Life[Kata1Agent]):
    assert (await life.agent.info()).version == VERSION
    script = "echo out; echo err >&2; read line; echo got $line; exec sleep 1000"
    life.network = network(MAC)
    await life.start(Cmd(args=("/bin/sh", "-c", script), stdin=True))
    log = life.pod.container_log
    await until(lambda: b"err" in content(log) and b"out" in content(log))
    assert b" stderr F err\n" in content(log)

    attachment = await life.pod.shim.attach(life.pod.run_dir, "c1")
    await attachment.write(b"typed\n")
    await until(lambda: b"stdout F got typed" in content(log))
    await attachment.detach()

    cat = await life.exec("e1", Cmd(args=("/bin/sh", "-c", "cat; echo no >&2; exit 7"), stdin=True))
    await cat.write(b"x" * 100_000)
    await cat.close_stdin()
    assert await everything(cat) == (b"x" * 100_000, b"no\n", 7)

    listed = await life.agent.processes("c1", ProcessListOptions(format=ProcessListFormat.JSON))
    assert len(msgspec.json.decode(listed, type=list[int])) == 1
    assert (await life.agent.stats(["c1"]))["c1"].cpu_ns == 7

    await life.agent.signal("c1", "c1", signal.SIGTERM, all=False)
    assert await life.ended() == 128 + signal.SIGKILL  # init without a handler
    await life.agent.remove_container("c1", timeout=5)
    await life.launch(Cmd(args=("/bin/sh", "-c", "exit 3")))
    assert await life.ended() == 3
    await life.agent.stop_sandbox()
    assert life.guest.sandbox is None
    assert len(life.guest.sessions) == 1


async def test_a_terminal_has_its_size_and_its_signals(life: Life[Kata1Agent]):
    await life.start(Cmd(args=("/bin/sleep", "1000")))
    script = "trap 'stty size; exit 5' USR1; echo ready; while :; do sleep 0.02; done"
    shell = await life.exec("e1", Cmd(args=("/bin/sh", "-c", script), interactive=True))
    said = b""
    async for piece in shell:
        said += piece.data
        if b"ready" in said and not life.guest.called("TtyWinResize"):
            await shell.resize(33, 101)
            await until(lambda: life.guest.called("TtyWinResize"))
            await life.agent.signal("c1", "e1", signal.SIGUSR1, all=False)
    assert said.splitlines() == [b"ready", b"33 101"]
    assert shell.exit_code == 5


async def test_one_party_waits_for_a_process_and_does_so_last(life: Life[Kata1Agent]):
    await life.start(Cmd(args=("/bin/sh", "-c", "seq 1 20000; seq 1 9 >&2; exit 4")))
    assert await life.ended() == 4
    order = [name for name, _ in life.guest.calls]
    assert order.count("WaitProcess") == 1
    last = max(at for at, name in enumerate(order) if name in {"ReadStdout", "ReadStderr"})
    assert last < order.index("WaitProcess")
    assert life.pod.container_log.read_bytes().count(b" stdout F ") == 20000


async def test_what_the_agent_is_asked_for_before_the_sandbox_is_what_works_then(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.agent.start_sandbox(pod_id=POD, hostname=POD, network=network(MAC))
        order = [name for name, _ in life.guest.calls if name != "Check"]
        assert sorted(order[:2]) == ["ReseedRandomDev", "SetGuestDateTime"]
        assert order[2:] == ["UpdateInterface", "CreateSandbox"]  # there is no route to tell of
        assert life.guest.called("CreateSandbox")[0].storages[0].mount_point == SHARE


async def test_volumes_are_mounted_once_for_all_containers(tmp_path: Path):
    volume = Mount(type="volume", source="site", destination="/srv")
    async with living(tmp_path) as life:
        await life.agent.start_sandbox(pod_id=POD, hostname=POD, volumes=["site"])
        for name in ("c1", "c2"):
            cmd = Cmd(args=("/bin/true",))
            config = ContainerConfig(id=name, rootfs="busybox", cmd=cmd, mounts=(volume,))
            spec = ContainerSpec(config=config, hostname=POD, rootfs=f"{name}/rootfs")
            await life.agent.create_container(spec)
        assert life.guest.tags == {"kataShared", "site"}


async def test_of_two_default_routes_the_one_that_holds_is_told(tmp_path: Path):
    routes = (
        Route(device="eth1", gateway="10.62.0.1"),
        Route(device="eth0", gateway="10.61.0.1"),
        Route(device="eth0", gateway="fd61::1", family=6),
    )
    async with living(tmp_path) as life:
        two = msgspec.structs.replace(network(MAC), routes=routes)
        await life.agent.start_sandbox(pod_id=POD, hostname=POD, network=two)
        (told,) = life.guest.called("UpdateRoutes")
        assert [one.gateway for one in told.routes.Routes] == ["10.62.0.1", "fd61::1"]


async def test_a_command_that_is_not_there_reads_127(life: Life[Kata1Agent]):
    await life.start(Cmd(args=("/bin/sleep", "1000")))
    with pytest.raises(CommandFailed) as failed:
        await life.agent.exec("c1", "e1", Cmd(args=("no-such-program",)))
    assert failed.value.exit_code == 127


async def test_a_first_command_that_is_not_there_reads_127(tmp_path: Path):
    async with living(tmp_path) as life:
        for command in ("no-such-program", "/no/such/program"):
            with pytest.raises(CommandFailed) as failed:
                await life.start(Cmd(args=(command,)))
            assert failed.value.exit_code == 127
            await life.agent.stop_sandbox()


async def test_a_container_that_still_runs_is_ended_before_it_is_removed(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done")))
        await life.agent.remove_container("c1", timeout=WAIT)
        assert not life.guest.containers
        await life.ended()  # with a status where it was asked for in time
        await life.launch(Cmd(args=("/bin/true",)))
        assert await life.ended() == 0


async def test_older_agents_end_a_stream_with_another_code(tmp_path: Path):
    async with living(tmp_path, eof=grpc.StatusCode.OUT_OF_RANGE) as life:
        await life.start(Cmd(args=("/bin/sh", "-c", "echo hello; exit 2")))
        assert await life.ended() == 2
        assert content(life.pod.container_log).endswith(b"stdout F hello\n")


async def test_agents_that_keep_the_session_alive_are_answered(tmp_path: Path):
    async with living(tmp_path, keepalive=0.02) as life:
        await until(lambda: life.guest.sessions[0].pings_answered > 5)
        assert (await life.agent.info()).version == VERSION


async def test_only_new_processors_are_counted(tmp_path: Path):
    async with living(tmp_path) as life:
        life.guest.offline_cpus = 2
        await life.agent.online(vcpus=3, plugged=2)
        assert life.guest.offline_cpus == 0
        await life.agent.online(vcpus=3, plugged=0)  # memory alone
        assert [one.nb_cpus for one in life.guest.called("OnlineCPUMem")] == [2, 0]


async def test_a_list_without_ps_in_the_guest_is_left_to_the_container(tmp_path: Path):
    async with living(tmp_path, has_ps=False) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        with pytest.raises(AgentUnsupported):
            await life.agent.processes("c1", ProcessListOptions(format=ProcessListFormat.TABLE))


async def test_a_guest_with_other_control_groups_is_told_of_with_the_remedy(tmp_path: Path):
    async with living(tmp_path, cgroup_v2_only=True) as life:
        with pytest.raises(AgentError, match=r"systemd\.unified_cgroup_hierarchy=0"):
            await life.start(Cmd(args=("/bin/sleep", "1000")))


async def test_a_stream_that_is_reset_takes_its_client_with_it_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with living(tmp_path) as life:
        (session,) = life.guest.sessions
        mine = session.opened[-1]
        session.reset(mine)
        while session.opened[-1] == mine:
            with suppress(AgentUnreachable):
                await life.agent.info()
        assert caplog.messages == []
        assert len(life.guest.sessions) == 1


async def test_a_session_that_takes_no_more_streams_lasts_until_one_is_wanted(tmp_path: Path):
    async with living(tmp_path) as life:
        life.guest.sessions[0].go_away()
        assert (await life.agent.info()).version == VERSION
        assert len(life.guest.sessions) == 1
        late = Session.over_unix(life.pod.run_dir / "proxy.sock")
        while len(life.guest.sessions) < 2:
            with suppress(ConnectionLost):
                await late.call("grpc.Health", "Check", timeout=WAIT)
        await late.close()
        assert life.pod.events(EventKind.WARNING) == []


async def test_who_takes_over_waits_until_the_agent_has_forgotten_the_last(tmp_path: Path):
    warnings: list[str] = []
    link = GrpcLink(tmp_path / "agent.sock", tmp_path / "proxy.sock", warnings.append)

    async def tell(is_open: bool) -> None:
        (link.port_opened if is_open else link.port_closed)()

    async with asyncio.timeout(WAIT), Kata1Agent(tmp_path / "agent.sock", on_port=tell) as guest:
        _, before = await asyncio.open_unix_connection(str(guest.path))
        await until(lambda: guest.sessions)
        task = asyncio.create_task(link.run(adopting=True))
        link.port_opened()
        before.write(bytes(5))  # half a frame
        await before.drain()
        assert len(guest.sessions) == 1
        before.transport.abort()
        await link.ready()
        assert len(guest.sessions) == 2
        assert await link.call("grpc.Health", "Check", b"") == b"\x08\x01"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()
    assert (warnings, guest.sins) == ([], [])


@pytest.mark.parametrize("protocol", [AgentProtocol.GRPC, AgentProtocol.AUTO])
async def test_an_agent_that_is_slow_to_read_its_port_is_spoken_to_in_yamux_alone(
    tmp_path: Path, protocol: AgentProtocol
):
    """The first words wait in the port; the session that they begin is the only one."""
    async with living(tmp_path, protocol=protocol, is_slow=True) as life:
        assert (await life.agent.info()).protocol == "grpc"
        assert len(life.guest.sessions) == 1


async def test_an_agent_that_hangs_at_its_end_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kata, "_GOODBYE", 0.1)
    async with living(tmp_path) as life:
        await life.agent.start_sandbox(pod_id=POD, hostname=POD)
        life.guest.answers = False
        await life.agent.stop_sandbox()


async def test_an_agent_that_falls_over_is_told_of(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        life.guest.panic = "out of memory"
        life.guest.sessions[0].hang_up()
        with pytest.raises(AgentUnreachable):
            await life.agent.exec("c1", "e1", Cmd(args=("/bin/true",)))
        await life.pod.qemu.shut_down("guest-reset")
        assert await life.ended() is None
        await life.pod.until_event(EventKind.MACHINE_DIED)


async def test_entries_of_the_agents_log_are_taken_from_the_console(tmp_path: Path):
    entry = 'time="2020-01-01T00:00:00Z" level=info msg=hi name=kata-agent pid=1 source=agent'
    async with living(tmp_path) as life:
        await life.pod.qemu.serial.send(f"[    0.1] kernel says\r\n{entry}\r\n".encode())
        log = life.pod.run_dir / "logs" / "agent.log"
        await life.pod.until_log(log, f"{entry}\n".encode())
        assert b"kernel says" not in content(log)


@pytest.mark.parametrize("helpers", [("proxy", "shim"), ("shim",)], ids=" and ".join)
async def test_processes_outlive_the_connection_that_their_kata_shims_had(
    tmp_path: Path, helpers: tuple[str, ...]
):
    """Another kata-shim follows each that was cut off, before that one can ask for the end."""
    script = "read a; echo lost; read b; echo kept; read c; exit 6"
    async with living(tmp_path, *helpers) as life:
        socket = life.pod.run_dir / "proxy.sock"
        await life.start(Cmd(args=("/bin/sh", "-c", script), stdin=True))
        await until(lambda: life.guest.called("ReadStdout") and life.guest.called("ReadStderr"))
        attachment = await life.pod.shim.attach(life.pod.run_dir, "c1")
        (shim,) = process.find_by_argument(socket, beside=["-exec-id"])
        if "proxy" in helpers:
            (proxy,) = process.find_by_argument(socket, beside=["-mux-socket"])
            os.kill(proxy.pid, signal.SIGKILL)
        else:
            life.guest.sessions[0].hang_up()
        await until(lambda: len(life.guest.called("ReadStdout")) == 2)
        assert process.find_by_argument(socket, beside=["-exec-id"]) != [shim]
        await attachment.write(b"1\n")
        await until(lambda: "ReadStdout" in life.guest.answered)
        await attachment.write(b"2\n")
        await until(lambda: b"stdout F kept" in content(life.pod.container_log))
        await attachment.write(b"3\n")
        assert await life.ended() == 6
        assert len(life.guest.called("WaitProcess")) == 1
        assert len(life.guest.sessions) == 2
        await attachment.detach()


async def test_a_new_monitor_goes_on_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What the process writes next goes to the call of the dead monitor; the agent reads on."""
    monkeypatch.setattr(port, "SETTLE", 0.05)  # the port was opened anew before anybody looked
    script = "read a; echo lost; read b; echo kept; read c; exit 6"
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/sh", "-c", script), stdin=True))
        await until(lambda: life.guest.called("ReadStdout"))
        life.pod.change(state=State.RUNNING, operation="")
        await life.monitor.aclose()
        async with running_monitor(life.pod, protocol=AgentProtocol.GRPC):
            await life.pod.await_agent()
            assert len(life.guest.sessions) == 2
            attachment = await life.pod.shim.attach(life.pod.run_dir, "c1")
            log = life.pod.container_log
            await attachment.write(b"1\n")
            await until(lambda: "ReadStdout" in life.guest.answered)
            await attachment.write(b"2\n")
            await until(lambda: b"stdout F kept" in content(log))
            await attachment.write(b"3\n")
            assert await life.ended() == 6
            assert b"lost" not in content(log)
            await attachment.detach()
