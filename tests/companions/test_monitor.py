"""What a monitor promises to engines, from the boot of a machine to its end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest

from tests.companions.conftest import POD, WAIT, Pod, running_monitor
from vctui.drivers import connections, monitor_client, ttrpc_client
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import NotFound
from vctui.linux import process
from vctui.model.events import EventKind
from vctui.model.hypervisor import Daemon
from vctui.model.state import State
from vctui.settings import Settings
from vctui.wire import crilog, monitor, ttrpc
from vctui.wire.pb import agent_pb2


async def collect(attachment) -> bytes:
    async with asyncio.timeout(WAIT):
        return b"".join([output.data async for output in attachment])


async def test_nothing_is_said_to_an_agent_that_has_not_opened_its_port(pod: Pod):
    pod.record(state=State.READY, operation="start")
    async with running_monitor(pod):
        with pytest.raises(CallFailed) as refused:
            await pod.await_agent(timeout=0.1)
        assert refused.value.code == ttrpc.DEADLINE_EXCEEDED
        assert pod.agent.calls == []
        await pod.qemu.open_port()
        hello = await pod.await_agent()
        assert hello.agent_open
        assert [method for method, _ in pod.agent.calls] == ["Check"]


async def test_calls_of_many_clients_share_the_channel(ready: Pod):
    async def one_client(number: int) -> None:
        session = await monitor_client.connect(ready.run_dir)
        request = agent_pb2.CreateContainerRequest(container_id=f"k{number}")
        await session.call(
            "grpc.AgentService", "CreateContainer", request.SerializeToString(), timeout=WAIT
        )
        answer = await session.call("grpc.Health", "Version", timeout=WAIT)
        assert b"fake" in answer
        await session.close()

    await asyncio.gather(*(one_client(number) for number in range(50)))
    assert {cid for cid, _ in ready.agent.processes} == {f"k{number}" for number in range(50)}
    assert ready.agent.connections == 1


async def test_an_answer_to_a_client_that_left_is_dropped(ready: Pod):
    ready.agent.process("c1")
    session = await ttrpc_client.connect(ready.run_dir / "monitor.sock", timeout=WAIT)
    wait = agent_pb2.WaitProcessRequest(container_id="c1").SerializeToString()
    with pytest.raises(TimeoutError):
        await session.call("grpc.AgentService", "WaitProcess", wait, timeout=0.05)
    await session.close()
    await ready.agent.process("c1").end(0)
    await ready.await_agent()


async def test_a_process_is_logged_waited_for_and_recorded(ready: Pod):
    process = ready.agent.process("c1")
    await ready.start_shim()
    await process.print(b"out\n")
    await process.print(b"err\n", stderr=True)
    await ready.until_log(ready.container_log, b"err\n")
    await process.end(3)
    assert await ready.shim.wait(ready.run_dir, "c1") == 3
    lines = [crilog.parse(line) for line in ready.container_log.read_bytes().splitlines()]
    assert {(line.stream, line.text) for line in lines if line} == {
        ("stdout", b"out"),
        ("stderr", b"err"),
    }
    record = ready.store.pod(POD).containers[0]
    assert (record.state, record.exit_code) == (State.STOPPED, 3)
    assert ready.events(EventKind.CONTAINER_STOPPED) == ["exited with 3"]
    assert process.most_reads_in_flight == 1


async def test_an_older_agent_ends_a_stream_with_an_error(ready: Pod):
    ready.agent.eof_is_an_error = True
    process = ready.agent.process("c1")
    await ready.start_shim()
    await process.print(b"last words")
    await process.end(0)
    assert await ready.shim.wait(ready.run_dir, "c1") == 0
    assert ready.container_log.read_bytes().endswith(b"stdout P last words\n")


async def test_the_end_of_an_exec_is_recorded(ready: Pod):
    ready.add_exec("t1")
    process = ready.agent.process("c1", "t1")
    await ready.start_shim("t1")
    await process.end(137)
    assert await ready.shim.wait(ready.run_dir, "t1") == 137
    (record,) = ready.store.execs(POD)
    assert record.exit_code == 137
    assert record.finished is not None
    assert ready.events(EventKind.PROCESS_EXITED) == ["exited with 137"]
    assert not (ready.run_dir / "logs" / "containers" / "t1.log").exists()


async def test_an_exec_ends_though_its_child_holds_its_output_open(ready: Pod):
    ready.agent.features = ["vctui.Guest.ListProcesses"]
    process = ready.agent.process("c1", "t1")
    process.outlived = True
    await ready.start_shim("t1")
    attachment = await ready.shim.attach(ready.run_dir, "t1")
    await process.print(b"x" * 1_000_000)
    await process.end(0)
    assert len(await collect(attachment)) == 1_000_000
    assert await ready.shim.wait(ready.run_dir, "t1") == 0


async def test_another_agent_is_asked_for_the_end_after_the_output(ready: Pod):
    process = ready.agent.process("c1", "t1")
    await ready.start_shim("t1")
    await process.print(b"x")
    await ready.agent.until_called("ReadStdout", 2)
    assert "WaitProcess" not in [method for method, _ in ready.agent.calls]
    await process.end(0)
    assert await ready.shim.wait(ready.run_dir, "t1") == 0


async def test_who_attaches_gets_replay_output_and_the_end(ready: Pod):
    process = ready.agent.process("c1")
    await ready.start_shim(terminal=True)
    await process.print(b"0123456789")
    await ready.until_log(ready.container_log, b"0123456789\n")
    first = await ready.shim.attach(ready.run_dir, "c1", replay=4, rows=24, columns=80)
    second = await ready.shim.attach(ready.run_dir, "c1")
    await process.until(lambda: process.size == (24, 80))
    await process.print(b"abc")
    await ready.until_log(ready.container_log, b"abc\n")
    await process.end(7)
    assert await collect(first) == b"6789abc"
    assert await collect(second) == b"abc"
    assert (first.exit_code, second.exit_code) == (7, 7)
    with pytest.raises(NotFound):
        await ready.shim.attach(ready.run_dir, "c1")
    with pytest.raises(NotFound):
        await ready.shim.attach(ready.run_dir, "nobody")


async def test_who_comes_late_to_a_short_exec_gets_all_it_wrote(ready: Pod):
    process = ready.agent.process("c1", "t1")
    await ready.start_shim("t1")
    await process.print(b"hello\n")
    await process.end(0)
    assert await ready.shim.wait(ready.run_dir, "t1") == 0
    attachment = await ready.shim.attach(ready.run_dir, "t1")
    assert await collect(attachment) == b"hello\n"
    assert attachment.exit_code == 0


async def test_an_exec_opens_one_connection(ready: Pod, monkeypatch: pytest.MonkeyPatch):
    opened: list[Path] = []
    connect = ttrpc_client.connect

    async def counted(path: Path, *, timeout: float) -> ttrpc_client.Session:
        opened.append(path)
        return await connect(path, timeout=timeout)

    monkeypatch.setattr(ttrpc_client, "connect", counted)
    agent = KataAgent(timeout=WAIT)
    async with connections.kept():
        url = await BuiltinProxy(Settings()).wait_agent(ready.run_dir, timeout=WAIT)
        await agent.connect(url, timeout=WAIT)
        await agent.info()
        process = ready.agent.process("c1", "t1")
        await ready.start_shim("t1")
        await agent.close()
        attachment = await ready.shim.attach(ready.run_dir, "t1")
        await process.end(3)
        assert await collect(attachment) == b""
    assert attachment.exit_code == 3
    assert opened == [ready.run_dir / monitor_client.SOCKET]


async def test_an_exec_loses_nothing_to_a_slow_or_late_reader(ready: Pod):
    whole = bytes(range(256)) * 16384  # 4 MiB, far over every buffer between
    process = ready.agent.process("c1", "t1")
    await process.print(whole)
    await ready.start_shim("t1")
    attachment = await ready.shim.attach(ready.run_dir, "t1")
    await process.until(lambda: len(process.output["ReadStdout"]) < len(whole))
    asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(process.end(0)))
    assert await collect(attachment) == whole


@pytest.mark.parametrize("terminal", [True, False])
async def test_input_arrives_in_order_and_a_terminal_is_resized_meanwhile(
    ready: Pod, terminal: bool
):
    process = ready.agent.process("c1")
    await ready.start_shim(terminal=terminal)
    attachment = await ready.shim.attach(ready.run_dir, "c1")
    typed = bytes(range(256)) * 1024
    await attachment.write(typed)
    await attachment.close_stdin()
    await attachment.resize(50, 100)
    async with asyncio.timeout(WAIT):
        await process.until(lambda: process.size == (50, 100))
    assert bytes(process.stdin) == typed
    assert process.stdin_closed is not terminal  # which has no end of its input
    await attachment.detach()


async def test_input_that_a_process_does_not_read_holds_only_its_writer_back(ready: Pod):
    process = ready.agent.process("c1")
    process.takes_input.clear()
    await ready.start_shim()
    attachment = await ready.shim.attach(ready.run_dir, "c1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(attachment.write(bytes(64 << 20)), 0.5)
    assert (await ready.await_agent()).agent_open
    await attachment.detach()


async def test_a_logged_process_goes_on_though_nobody_reads_the_attachment(ready: Pod):
    process = ready.agent.process("c1")
    await ready.start_shim()
    attachment = await ready.shim.attach(ready.run_dir, "c1")
    chunk = b"y" * 65535 + b"\n"
    for _ in range(128):
        await process.print(chunk)
        await process.until(lambda: len(process.output["ReadStdout"]) < 1 << 20)
    await process.end(0)
    async with asyncio.timeout(WAIT):
        assert await ready.shim.wait(ready.run_dir, "c1") == 0
    seen = await collect(attachment)
    assert b"bytes of output skipped" in seen
    assert len(seen) < 128 * len(chunk)
    assert attachment.exit_code == 0


async def test_the_console_is_kept_passed_on_and_typed_at(ready: Pod):
    await ready.qemu.serial.send(b"booting\r\n")
    await ready.until_log(ready.run_dir / "logs" / "console.log", b"booting\r\n")
    console = await ready.shim.console(ready.run_dir, replay=100)
    await console.write(b"ls\r")
    async with asyncio.timeout(WAIT):
        await ready.qemu.serial.until_received(b"ls\r")
    await ready.qemu.shut_down("guest-shutdown")
    assert await collect(console) == b"booting\r\n"
    assert console.exit_code is None
    assert console.reason == "the guest powered itself off"


async def test_the_agents_log_is_kept_in_clean_lines(ready: Pod):
    await ready.qemu.agent_log.send(b"one \x1b[31mred\x1b[0m\n" + b"z" * 20000 + b"\n")
    log = await ready.until_log(ready.run_dir / "logs" / "agent.log", b"z\n")
    lines = log.splitlines()
    assert lines[0].endswith(b"Z one red")
    assert [len(line) for line in lines[1:]] == [8192 + 31, 8192 + 31, 20000 - 2 * 8192 + 31]


async def test_what_the_guest_said_before_the_monitor_was_called_is_replayed(pod: Pod):
    """A monitor is there before its machine; what a template had said comes between the two."""
    pod.record(state=State.READY, operation="start")
    log = pod.run_dir / "logs" / "console.log"
    log.parent.mkdir()
    async with running_monitor(pod):
        log.write_bytes(b"as a template\r\n")
        await pod.qemu.serial.send(b"as a pod\r\n")
        await pod.until_log(log, b"as a template\r\nas a pod\r\n")
        console = await pod.shim.console(pod.run_dir, replay=100)
        await pod.qemu.shut_down("guest-shutdown")
        assert await collect(console) == b"as a template\r\nas a pod\r\n"


async def test_an_agent_that_logs_to_the_console_has_a_log(ready: Pod):
    entry = b'time="2020-01-01T00:00:00.1Z" level=info msg="it serves" name=kata-agent pid=1\r\n'
    modern = b'{"msg":"it serves","level":"INFO","name":"kata-agent","source":"agent"}\r\n'
    await ready.qemu.serial.send(b"[ 1.0] Linux\r\n" + entry + b"login: \r\n" + modern)
    log = await ready.until_log(ready.run_dir / "logs" / "agent.log", b"}\n")
    lines = [line.partition(b" ")[2] for line in log.splitlines()]
    assert lines == [entry.strip(), modern.strip()]
    await ready.qemu.agent_log.send(b"by its port\n")
    await ready.until_log(ready.run_dir / "logs" / "agent.log", b"port\n")
    await ready.qemu.serial.send(entry)
    await ready.qemu.agent_log.send(b"last\n")
    log = await ready.until_log(ready.run_dir / "logs" / "agent.log", b"last\n")
    assert log.count(b"it serves") == 2


@pytest.mark.parametrize(
    ("console", "shutdown", "reason"),
    [
        (
            b"[ 1.0] Kernel panic - not syncing: Attempted to kill init!\r\n[ 1.1] x\r\n",
            "guest-reset",
            "the guest kernel panicked: Kernel panic - not syncing: Attempted to kill init!",
        ),
        (b"bye\r\n", "guest-shutdown", "the guest powered itself off"),
        (b"", "", "QEMU was killed (no shutdown event); qemu: out of luck"),
    ],
)
async def test_the_end_of_the_machine_stops_all_with_its_reason(
    ready: Pod, console: bytes, shutdown: str, reason: str
):
    ready.add_exec("t1")
    for token in ("", "t1"):
        ready.agent.process("c1", token)
    await ready.start_shim()
    await ready.start_shim("t1")
    attachment = await ready.shim.attach(ready.run_dir, "c1")
    (ready.run_dir / "qemu.log").write_bytes(b"qemu: out of luck\n")
    if console:
        await ready.qemu.serial.send(console)
        await ready.until_log(ready.run_dir / "logs" / "console.log", console)
    waiting = asyncio.create_task(ready.shim.wait(ready.run_dir, "t1"))
    if shutdown:
        await ready.qemu.shut_down(shutdown)
    else:
        ready.qemu.kill()
    await collect(attachment)
    assert (attachment.exit_code, attachment.reason) == (None, reason)
    assert await waiting is None
    record = ready.store.pod(POD)
    assert (record.state, record.reason, record.machine) == (State.STOPPED, reason, None)
    container = record.containers[0]
    assert (container.state, container.exit_code, container.reason) == (
        State.STOPPED,
        None,
        reason,
    )
    assert ready.store.execs(POD)[0].finished is not None
    assert ready.events(EventKind.MACHINE_DIED) == [reason]


@pytest.mark.parametrize("operation", ["stop", "delete", "restart"])
async def test_a_machine_that_is_stopped_on_purpose_is_left_to_who_stops_it(
    pod: Pod, operation: str
):
    pod.record()
    async with running_monitor(pod) as monitor_task:
        pod.change(operation=operation)
        await pod.qemu.shut_down("host-qmp-quit", guest=False)
        async with asyncio.timeout(WAIT):
            await monitor_task
    assert pod.store.pod(POD).state is State.RUNNING
    assert pod.events(EventKind.MACHINE_DIED) == []
    assert not (pod.run_dir / "monitor.sock").exists()


async def test_a_machine_ends_with_what_serves_its_folders(pod: Pod):
    """Its guest would wait for ever."""
    server, qemu = (process.spawn_detached(("sleep", "60")) for _ in range(2))
    (pod.run_dir / "virtiofsd0.log").write_bytes(b"out of luck\n")
    served = Daemon(tag="kataShared", pid=server.pid, started=server.started)
    machine = msgspec.structs.replace(
        pod.qemu.machine, pid=qemu.pid, pid_started=qemu.started, daemons=(served,)
    )
    pod.record()
    pod.change(machine=machine)
    async with running_monitor(pod) as monitor_task:
        await pod.until_event(EventKind.MONITOR_ADOPTED)
        process.send(server, signal.SIGKILL)
        async with asyncio.timeout(WAIT):
            await monitor_task
    assert not process.is_alive(qemu.pid, qemu.started)
    (reason,) = pod.events(EventKind.MACHINE_DIED)
    assert f"virtiofsd (process {server.pid}), which shows the guest 'kataShared'" in reason
    assert "ended: out of luck; the machine was ended" in reason
    assert pod.store.pod(POD).reason == reason


async def test_what_serves_folders_may_end_a_little_before_its_machine(pod: Pod):
    server, qemu = (process.spawn_detached(("sleep", "60")) for _ in range(2))
    served = Daemon(tag="kataShared", pid=server.pid, started=server.started)
    machine = msgspec.structs.replace(
        pod.qemu.machine, pid=qemu.pid, pid_started=qemu.started, daemons=(served,)
    )
    pod.record()
    pod.change(machine=machine)
    async with running_monitor(pod) as monitor_task:
        await pod.until_event(EventKind.MONITOR_ADOPTED)
        for one in (server, qemu):
            process.send(one, signal.SIGKILL)
        async with asyncio.timeout(WAIT):
            await monitor_task
    assert pod.events(EventKind.MACHINE_DIED) == ["QEMU was killed (no shutdown event)"]


async def test_a_machine_that_dies_while_it_boots_is_told_to_who_waits(pod: Pod):
    pod.record(state=State.READY, operation="start")
    async with running_monitor(pod):
        waiting = asyncio.create_task(pod.await_agent())
        await asyncio.sleep(0)
        await pod.qemu.shut_down("guest-reset")
        with pytest.raises(CallFailed) as refused:
            await waiting
        assert refused.value.code == ttrpc.UNAVAILABLE
        assert refused.value.message == "the guest reset itself"


async def test_an_agent_that_closes_its_channel_fails_what_it_was_asked(ready: Pod):
    ready.agent.silent.add("StatsContainer")
    async with monitor_client.connected(ready.run_dir) as session:
        asked = asyncio.create_task(
            session.call("grpc.AgentService", "StatsContainer", timeout=WAIT)
        )
        await ready.agent.until_called("StatsContainer")
        await ready.qemu.close_port()
        with pytest.raises(CallFailed) as failed:
            await asked
    assert failed.value.code == ttrpc.UNAVAILABLE
    await ready.qemu.open_port()
    assert (await ready.await_agent()).agent_open


async def test_quit_leaves_the_machine_alone(pod: Pod):
    pod.record()
    async with running_monitor(pod) as monitor_task:
        async with monitor_client.connected(pod.run_dir) as session:
            await session.call(monitor.SERVICE, "Quit", timeout=WAIT)
        async with asyncio.timeout(WAIT):
            await monitor_task
    assert pod.store.pod(POD).state is State.RUNNING


async def test_a_new_monitor_takes_over_what_runs(pod: Pod):
    pod.record()
    pod.add_exec("t1")
    processes = [pod.agent.process("c1"), pod.agent.process("c1", "t1")]
    pod.qemu.qmp.open_ports.add("agent.channel.0")
    async with running_monitor(pod):
        await pod.until_event(EventKind.MONITOR_ADOPTED)
        await processes[0].print(b"still here\n")
        await pod.until_log(pod.container_log, b"still here\n")
        await processes[1].end(4)
        await pod.until_event(EventKind.PROCESS_EXITED)
        assert pod.store.execs(POD)[0].exit_code == 4
        await processes[0].end(5)
        await pod.until_event(EventKind.CONTAINER_STOPPED)
        assert pod.store.pod(POD).containers[0].exit_code == 5
