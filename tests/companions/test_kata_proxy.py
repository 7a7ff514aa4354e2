"""A pod's agent behind an external kata-proxy, and its processes behind external kata-shims.

Behind them is our own agent's 1.x face, and before them two programs that follow the tables.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.companions.conftest import Pod, running_monitor, until
from tests.companions.serial_agent import Agents, channel, start
from tests.fakes.programs import executable
from vctui.companions.monitor import port, proxy_program
from vctui.companions.monitor.console_socket import ConsoleSocket
from vctui.companions.monitor.fanout import Fanout
from vctui.companions.monitor.kata_proxy import KataProxyLink
from vctui.companions.monitor.kata_shim import KataShim
from vctui.companions.monitor.processes import Processes
from vctui.drivers.grpc_client import Session
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import process, sockets
from vctui.model.events import EventKind
from vctui.model.kinds import AgentProtocol
from vctui.model.proxy import ProxyConfig
from vctui.model.shim import ShimConfig
from vctui.model.state import State
from vctui.wire import ttrpc
from vctui.wire.monitor import Exit, StartShim

WAIT = 30.0


class Side:
    def __init__(self, folder: Path, program: str = "", *, debug: bool = False) -> None:
        self.folder = folder
        self.channel = folder / "agent.sock"
        self.served = folder / "proxy.sock"
        self.log = folder / "proxy.log"
        self.warnings: list[str] = []
        path = program or str(executable(folder, "kata_proxy"))
        self.link = KataProxyLink(
            ProxyConfig(path=path, debug=debug),
            self.channel,
            self.served,
            self.log,
            self.warnings.append,
        )

    @asynccontextmanager
    async def running(self, *, adopting: bool = False) -> AsyncIterator[KataProxyLink]:
        task = asyncio.create_task(self.link.run(adopting=adopting))
        self.link.port_opened()
        try:
            yield self.link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.link.close()

    def programs(self) -> list[process.Spawned]:
        return process.find_by_argument(self.served)


@asynccontextmanager
async def connected(folder: Path, *, debug: bool = False) -> AsyncIterator[Side]:
    side, agents = Side(folder, debug=debug), Agents(folder)
    try:
        async with (
            asyncio.timeout(WAIT * 2),
            channel(side.channel, agents.serve),
            side.running() as link,
        ):
            await link.ready()
            yield side
        assert side.programs() == []
    finally:
        agents.end()


def test_its_command_line_is_the_tables(tmp_path: Path):
    plain, chatty = Side(tmp_path, "/p"), Side(tmp_path, "/p", debug=True)
    sides = (f"-listen-socket unix://{plain.served}", f"-mux-socket {plain.channel}")
    assert " ".join(plain.link.argv()) == " ".join(("/p", *sides))
    logs = f"-agent-logs-socket {tmp_path}/console.sock"
    assert " ".join(chatty.link.argv()) == " ".join(("/p", *sides, "-log debug", logs))


async def test_the_agent_answers_through_the_program_which_ends_with_us(tmp_path: Path):
    console = Fanout(0)
    copy = ConsoleSocket(tmp_path / "console.sock", console)
    await copy.open()
    async with connected(tmp_path, debug=True) as side:
        assert await side.link.call("grpc.Health", "Check", b"") == b"\x08\x01"
        others = [Session.over_unix(side.served) for _ in range(3)]
        answers = [one.call("grpc.Health", "Check", timeout=WAIT) for one in others]
        assert await asyncio.gather(*answers) == [b"\x08\x01"] * 3
        for one in others:
            await one.close()
        assert len(side.programs()) == 1
        console.publish(1, b"the agent says\r\n")
        await until(lambda: r'msg="the agent says\n" ' in side.log.read_text())
        assert "log-level=debug" in side.log.read_text().splitlines()[0]
    await copy.close()
    assert not side.served.exists()
    assert side.warnings == []


async def test_a_new_monitor_takes_the_program_over_that_the_last_has_left(tmp_path: Path):
    async with connected(tmp_path) as side:
        (program,) = side.programs()
        after = Side(tmp_path)
        async with after.running(adopting=True) as link:
            await link.ready()
            assert after.programs() == [program]


async def test_a_program_that_dies_is_reported_and_started_again_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(port, "SETTLE", 0.05)
    async with connected(tmp_path) as side:
        seen: list[int] = []
        for times in (1, 2, 3):
            (program,) = side.programs()
            seen.append(program.pid)
            os.kill(program.pid, signal.SIGKILL)
            await until(lambda times=times: len(side.warnings) == times)
            said = f"kata-proxy (process {program.pid}) was killed by signal 9"
            assert side.warnings[-1].startswith(said)
            if times < 3:
                await until(side.programs)
        assert len(set(seen)) == 3
        assert side.warnings[-1].endswith("it stays away, restart the pod")
        assert "was killed" in side.link.given_up
        with pytest.raises(ConnectionLost, match="was killed by signal 9"):
            await side.link.call("grpc.Health", "Check", b"")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no syslog >&2; exit 1", "ended: no syslog"),
        (
            """echo 'level=fatal msg="no logger" error="syslog is away" pid=7' >&2; exit 1""",
            "ended: no logger: syslog is away (it needs",
        ),
        ("echo 'time=0 level=debug msg=here pid=7' >&2; exit 1", "ended (it needs"),
        ("exit 1", "ended (it needs a syslog daemon, and there is no /nowhere/log)"),
        ("", "cannot be started with /nowhere/kata-proxy: No such file or directory"),
    ],
)
async def test_a_program_that_does_not_start_is_given_up_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
):
    monkeypatch.setattr(port, "SETTLE", 0.05)
    monkeypatch.setattr(proxy_program, "_SYSLOG", Path("/nowhere/log"))
    program = tmp_path / "kata-proxy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    side = Side(tmp_path, str(program) if script else "/nowhere/kata-proxy")
    listening = sockets.listen(side.channel)
    async with side.running():
        await until(lambda: side.link.given_up)
    assert said in side.link.given_up
    assert len(side.warnings) == 3
    listening.close()


async def test_a_syslog_socket_where_nobody_listens_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(port, "SETTLE", 0.05)
    monkeypatch.setattr(proxy_program, "_SYSLOG", tmp_path)
    program = tmp_path / "kata-proxy"
    entry = 'level=fatal msg="unable to setup logger" error="Unix syslog delivery error"'
    program.write_text(f"#!/bin/sh\necho '{entry}' >&2; exit 1\n")
    program.chmod(0o755)
    side = Side(tmp_path, str(program))
    async with side.running():
        await until(lambda: side.link.given_up)
    assert side.link.given_up.endswith(
        "ended: unable to setup logger: Unix syslog delivery error (it needs a syslog daemon that "
        f"listens at {tmp_path})"
    )


async def test_whoever_waits_for_the_agent_hears_that_its_proxy_stays_away(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(port, "SETTLE", 0.05)
    program = tmp_path / "kata-proxy"
    program.write_text("#!/bin/sh\necho no syslog >&2; exit 1\n")
    program.chmod(0o755)
    pod.record(state=State.READY, operation="start")
    async with running_monitor(
        pod, proxy=ProxyConfig(path=str(program)), protocol=AgentProtocol.GRPC
    ):
        await pod.qemu.open_port()
        with pytest.raises(CallFailed, match=r"kata-proxy .* ended: no syslog") as refused:
            await pod.await_agent()
        assert refused.value.code == ttrpc.FAILED_PRECONDITION
        await until(lambda: len(pod.events(EventKind.WARNING)) == 3)


# kata-shim behind it


class Shims:
    def __init__(self, side: Side, *, built_in: bool = False) -> None:
        self.ends: dict[str, Exit] = {}
        self.processes = Processes(
            stand_in=side.link.stand_in,
            log_dir=side.folder,
            max_log_bytes=1 << 20,
            replay_bytes=4096,
            on_end=self._ended,
            on_renewed=self._renewed,
            warn=side.warnings.append,
        )
        if built_in:
            return
        config = ShimConfig(path=str(executable(side.folder, "kata_shim")))
        self.processes.leave_to(KataShim(config, side.served, side.link))

    async def _ended(self, which: StartShim, how: Exit) -> None:
        self.ends[which.token] = how

    async def _renewed(self, which: StartShim, pid: int) -> None:
        """Nobody here asks for the process's number."""


@asynccontextmanager
async def shimmed(folder: Path, *command: str, built_in: bool = False) -> AsyncIterator[Shims]:
    """A container `c1` with a kata-shim for its first process, or the built-in shim."""
    async with connected(folder) as side:
        shims = Shims(side, built_in=built_in)
        session = Session.over_unix(side.served)
        try:
            await start(session, *command)
            await shims.processes.start(StartShim(container_id="c1", token="c1", log=True))
            yield shims
        finally:
            await shims.processes.leave_all()
            await session.close()


@pytest.mark.parametrize("built_in", [False, True], ids=["kata-shim", "built in"])
async def test_a_shim_has_the_output_and_the_exit_status_of_its_process(
    tmp_path: Path, built_in: bool
):
    command = ("/bin/sh", "-c", "read said; echo got $said; exit 7")
    async with shimmed(tmp_path, *command, built_in=built_in) as shims:
        shim = shims.processes.get("c1")
        assert shim is not None
        await shim.write(b"something\n")
        assert await shim.exit == Exit(7)
    assert (tmp_path / "c1.log").read_bytes().endswith(b"stdout F got something\n")
    assert shims.ends == {"c1": Exit(7)}


async def test_signals_to_a_kata_shim_reach_its_process(tmp_path: Path):
    script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.02; done"
    async with shimmed(tmp_path, "/bin/sh", "-c", script) as shims:
        shim = shims.processes.get("c1")
        assert shim is not None
        await until(lambda: b"ready" in shim.output.recent())
        os.kill(shim.pid, signal.SIGUSR1)
        assert await shim.exit == Exit(5)
        assert b"caught" in shim.output.recent()


async def test_the_process_ends_with_a_kata_shim_that_is_killed(tmp_path: Path):
    async with shimmed(tmp_path, "/bin/sh", "-c", "echo $$; exec sleep 1000") as shims:
        shim = shims.processes.get("c1")
        assert shim is not None
        pid = int(await until(lambda: shim.output.recent().strip()))
        os.kill(shim.pid, signal.SIGKILL)
        how = await shim.exit
        assert how.exit_code is None
        assert how.reason.endswith("was killed by signal 9")
        await until(lambda: not Path(f"/proc/{pid}/exe").exists())
