"""The kata driver with a scripted agent at the other end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.fake_agent import FakeAgent, Refusal
from vctui.drivers.agents.base import ContainerSpec
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.errors import AgentError, AgentUnreachable, AgentUnsupported, CommandFailed
from vctui.model.agent import AgentConfig
from vctui.model.container import Cmd, ContainerConfig, ProcessListOptions
from vctui.model.kinds import AgentProtocol, ProcessListFormat, SocketType
from vctui.model.timeline import Where
from vctui.telemetry import trace
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2, guest_pb2

FIRST_GENERATION = ("vctui.protocol=grpc", "agent.hotplug_timeout=30s")

SPEC = ContainerSpec(
    config=ContainerConfig(id="c1", rootfs="/r", cmd=Cmd(args=("nope",))),
    hostname="web",
    rootfs="c1/rootfs",
)


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    run_dir = tmp_path / "web"
    run_dir.mkdir()
    async with FakeAgent(run_dir / "agent.sock") as fake:
        yield fake


@pytest.fixture
async def agent(fake: FakeAgent) -> AsyncIterator[KataAgent]:
    agent = KataAgent(timeout=5)
    await agent.connect(f"unix://{fake.path}", timeout=5)
    yield agent
    await agent.close()


def methods(fake: FakeAgent) -> list[str]:
    return [method for method, _ in fake.calls]


async def test_a_sandbox_gets_its_share_the_time_and_entropy(agent: KataAgent, fake: FakeAgent):
    await agent.start_sandbox(pod_id="web", hostname="web")
    calls = {method: request.payload for method, request in fake.calls}
    assert set(calls) == {"CreateSandbox", "SetGuestDateTime", "ReseedRandomDev"}
    clock = agent_pb2.SetGuestDateTimeRequest.FromString(calls["SetGuestDateTime"])
    assert abs(clock.Sec - time.time()) < 5
    assert len(agent_pb2.ReseedRandomDevRequest.FromString(calls["ReseedRandomDev"]).data) >= 64
    assert all(request.timeout_nano == 5_000_000_000 for _, request in fake.calls)


@pytest.mark.parametrize(
    ("mounts", "error"),
    [
        (("blk", "virtio-fs"), "does not mount 9p; set hypervisor_config.shared_fs to virtio-fs"),
        (("9p", "blk", "virtio-fs"), "no such handler"),
        ((), "no such handler"),
    ],
)
async def test_an_agent_that_does_not_mount_9p_is_told_of_with_the_remedy(
    agent: KataAgent, fake: FakeAgent, mounts: tuple[str, ...], error: str
):
    async def refuse(_body: bytes) -> bytes:
        raise Refusal(ttrpc.INTERNAL, "no such handler")

    async def details(_body: bytes) -> bytes:
        found = agent_pb2.AgentDetails(storage_handlers=mounts)
        return agent_pb2.GuestDetailsResponse(agent_details=found).SerializeToString()

    fake.handlers |= {"CreateSandbox": refuse, "GetGuestDetails": details}
    with pytest.raises(AgentError, match=error):
        await agent.start_sandbox(pod_id="web", hostname="web")


async def test_entropy_and_time_come_before_what_makes_a_guest_the_pods(
    agent: KataAgent, fake: FakeAgent
):
    await agent.start_sandbox(pod_id="web", hostname="web")
    assert methods(fake)[-1] == "CreateSandbox"


async def test_a_guest_that_is_to_be_saved_is_prepared_where_its_agent_can(
    agent: KataAgent, fake: FakeAgent
):
    await agent.prepare()
    assert methods(fake)[-1] == "Prepare"
    code = ttrpc.UNIMPLEMENTED

    async def refuse(_body: bytes) -> bytes:
        raise Refusal(code, "it cannot")

    fake.handlers["Prepare"] = refuse
    await agent.prepare()
    code = ttrpc.INTERNAL
    with pytest.raises(AgentError, match="it cannot"):
        await agent.prepare()


async def test_a_container_without_a_terminal_has_its_input_closed(
    agent: KataAgent, fake: FakeAgent
):
    await agent.create_container(SPEC)
    await agent.start_container("c1")
    assert methods(fake) == ["CreateContainer", "StartContainer", "CloseStdin"]
    assert fake.process("c1").stdin_closed


@pytest.mark.parametrize("step", ["CreateContainer", "StartContainer"])
async def test_a_command_that_is_not_there_is_127(agent: KataAgent, fake: FakeAgent, step: str):
    async def refuse(_body: bytes) -> bytes:
        raise Refusal(ttrpc.INTERNAL, "executable file `nope` not found in $PATH")

    fake.handlers[step] = refuse
    if step == "StartContainer":
        await agent.create_container(SPEC)
        starting = agent.start_container("c1")
    else:
        starting = agent.create_container(SPEC)
    with pytest.raises(CommandFailed, match="'nope' was not found in container 'c1'") as failed:
        await starting
    assert failed.value.exit_code == 127


async def test_signals_go_to_one_process_or_to_all(agent: KataAgent, fake: FakeAgent):
    sent: list[guest_pb2.SignalContainerRequest] = []

    async def signal_container(body: bytes) -> bytes:
        sent.append(guest_pb2.SignalContainerRequest.FromString(body))
        return b""

    fake.handlers["SignalContainer"] = signal_container
    fake.process("c1", "t1")
    fake.process("c1")
    await agent.signal("c1", "t1", 15, all=False)
    await agent.signal("c1", "c1", 9, all=True)
    await agent.signal("c1", "c1", 10, all=True)
    requests = [
        agent_pb2.SignalProcessRequest.FromString(request.payload)
        for request in await fake.until_called("SignalProcess", 2)
    ]
    assert [(each.exec_id, each.signal) for each in requests] == [("t1", 15), ("", 9)]
    assert [(each.container_id, each.signal) for each in sent] == [("c1", 10)]


async def test_a_signal_for_all_that_an_agent_lacks_is_said(agent: KataAgent):
    with pytest.raises(AgentUnsupported, match="only SIGKILL to all processes"):
        await agent.signal("c1", "c1", 10, all=True)


@pytest.mark.parametrize(
    ("code", "message"),
    [(ttrpc.NOT_FOUND, "no process"), (ttrpc.INTERNAL, "ESRCH: No such process")],
)
async def test_signalling_what_is_gone_is_no_error(
    agent: KataAgent, fake: FakeAgent, code: int, message: str
):
    async def refuse(_body: bytes) -> bytes:
        raise Refusal(code, message)

    fake.handlers["SignalProcess"] = refuse
    await agent.signal("c1", "c1", 15, all=False)


async def test_processes_are_listed_by_an_agent_that_can(agent: KataAgent, fake: FakeAgent):
    options = ProcessListOptions(format=ProcessListFormat.JSON, args=("-o", "pid"))
    assert await agent.processes("c1", options) == b"c1 json -o pid"
    del fake.handlers["ListProcesses"]
    with pytest.raises(AgentUnsupported, match="ListProcesses"):
        await agent.processes("c1", options)


async def test_figures_are_bounded_and_missing_ones_left_out(agent: KataAgent, fake: FakeAgent):
    fake.process("c1")
    stats = await agent.stats(["c1", "gone"])
    assert set(stats) == {"c1"}
    assert stats["c1"].cpu_ns == 2**63 - 1
    assert (stats["c1"].memory_bytes, stats["c1"].pids) == (4096, 2)


async def test_who_answers_is_told_without_control_characters(agent: KataAgent):
    info = await agent.info()
    assert info.version == "fake [31m 1"
    assert info.features == {"list-processes"}


async def test_an_agent_that_does_not_answer_in_time_is_unreachable(
    agent: KataAgent, fake: FakeAgent
):
    slow = KataAgent(timeout=0.05)
    fake.silent.add("StatsContainer")
    await agent.close()
    await slow.connect(f"unix://{fake.path}", timeout=5)
    with pytest.raises(AgentUnreachable, match=r"within 0\.05 s"):
        await slow.stats(["c1"])
    await slow.close()


async def test_a_connection_that_drops_is_an_answer_to_the_goodbye(
    agent: KataAgent, fake: FakeAgent
):
    async def power_off(_body: bytes) -> bytes:
        fake.drop()
        return b""

    fake.handlers["DestroySandbox"] = power_off
    await agent.stop_sandbox()
    with pytest.raises(AgentUnreachable):
        await agent.set_clock()


async def test_nobody_there_is_unreachable(tmp_path: Path):
    with pytest.raises(AgentUnreachable, match="pod 'web'"):
        await KataAgent(timeout=1).connect(f"unix://{tmp_path}/web/monitor.sock", timeout=1)


async def test_other_errors_keep_their_code(agent: KataAgent, fake: FakeAgent):
    async def refuse(_body: bytes) -> bytes:
        raise Refusal(ttrpc.PERMISSION_DENIED, "policy")

    fake.handlers["RemoveContainer"] = refuse
    with pytest.raises(AgentError, match="refused RemoveContainer: policy") as refused:
        await agent.remove_container("c1", timeout=1)
    assert refused.value.code == ttrpc.PERMISSION_DENIED


def test_the_agents_log_says_everything_where_agent_or_guest_is_debugged():
    def parameters(*, agent: bool, guest: bool) -> tuple[str, ...]:
        there = Path("/nowhere/web")
        return KataAgent.needs(there, there, AgentConfig(debug=agent), debug=guest).kernel_params

    assert parameters(agent=False, guest=False) == ()
    assert parameters(agent=True, guest=False) == ("agent.log=debug",)
    assert parameters(agent=True, guest=True) == ("agent.log=debug", "agent.debug_console")
    assert parameters(agent=False, guest=True) == parameters(agent=True, guest=True)


@pytest.mark.parametrize("socket_type", [SocketType.VSOCK, SocketType.HYBRID])
@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (  # Kata 2.x knows no other way
            AgentProtocol.TTRPC,
            ("vctui.socket=vsock", "agent.hotplug_timeout=30"),
        ),
        (
            AgentProtocol.GRPC,
            (*FIRST_GENERATION, "vctui.socket=vsock", "agent.use_vsock=true"),
        ),
        (
            AgentProtocol.AUTO,
            ("vctui.socket=vsock", "agent.use_vsock=true", "agent.hotplug_timeout=30"),
        ),
    ],
)
def test_an_agent_on_vsock_is_told_so_and_has_no_serial_port(
    socket_type: SocketType, protocol: AgentProtocol, words: tuple[str, ...]
):
    there = Path("/nowhere/web")
    config = AgentConfig(socket_type=socket_type, protocol=protocol)
    needs = KataAgent.needs(there, there, config, debug=False)
    assert needs.kernel_params == words
    assert [port.name for port in needs.ports] == ["agent.log.0"]


def test_an_agent_of_1_x_is_given_time_for_its_devices():
    there = Path("/nowhere/web")
    config = AgentConfig(protocol=AgentProtocol.GRPC)
    assert KataAgent.needs(there, there, config, debug=False).kernel_params == FIRST_GENERATION


async def test_a_guests_timeline_is_told_by_the_hosts_clock(agent: KataAgent, fake: FakeAgent):
    second = 10**9

    async def answer(_body: bytes) -> bytes:
        step = guest_pb2.TimelineStep
        return guest_pb2.GetTimelineResponse(
            now_ns=10 * second,
            steps=[
                step(name="kernel\x1b[2J", begin_ns=0, end_ns=2 * second),
                step(name="ends before it begins", begin_ns=5, end_ns=1),
                step(name="ends in the future", begin_ns=5, end_ns=11 * second),
                step(name="n" * 5000, begin_ns=4 * second, end_ns=4 * second),
            ],
        ).SerializeToString()

    fake.handlers["GetTimeline"] = answer
    before = trace.clock()
    kernel, long = await agent.timeline()
    assert kernel.name == "kernel [2J"
    assert before - 10 <= kernel.begin <= trace.clock() - 10
    assert (kernel.took, kernel.where) == (2.0, Where.GUEST)
    assert long.begin - kernel.begin == pytest.approx(4.0)
    assert len(long.name) == 64


async def test_an_agent_that_does_not_measure_has_no_timeline(agent: KataAgent):
    assert await agent.timeline() == ()
