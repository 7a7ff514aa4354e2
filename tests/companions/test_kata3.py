"""A pod's whole life with a strict agent of Kata 2.x and 3.x behind a hybrid vsock: the engine's
driver, with our proxy and without one, the built-in shim, and the monitor."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.companions.conftest import POD, content, until
from tests.companions.life import WAIT, Life, everything, led, machine, network, on_vsock
from tests.fakes.kata3_agent import MAC, SHARE, VERSION, Kata3Agent
from vctui.drivers.agents.base import GuestDevice
from vctui.drivers.hypervisors.base import Place
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.drivers.proxies.no import NoProxy
from vctui.errors import AgentError, AgentUnreachable, AgentUnsupported, CommandFailed
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.device import DeviceInfo
from vctui.model.kinds import (
    AgentProtocol,
    DeviceType,
    ProcessListFormat,
    SharedFs,
    SocketType,
)
from vctui.model.linux import Linux
from vctui.model.network import PodNetwork
from vctui.model.seccomp import Seccomp, SeccompArg, SeccompRule
from vctui.wire import ttrpc

RELEASES = ("2.1.0", "2.5.2", VERSION, "3.27.0")
"""Between them, agents have changed what they say."""


def cards() -> PodNetwork:
    return network(MAC, ipv6="fd00::2/64", pci_path="02/00/01", gateway="10.0.0.1")


@asynccontextmanager
async def living(
    root: Path,
    *,
    proxy: type[BuiltinProxy] = BuiltinProxy,
    protocol: AgentProtocol = AgentProtocol.TTRPC,
    **release: Any,
) -> AsyncIterator[Life[Kata3Agent]]:
    qemu = machine(root)
    guest = Kata3Agent(qemu.run_dir / "inside.sock", **release)
    how = {"protocol": protocol, "proxy": proxy, "socket_type": SocketType.VSOCK}
    # the agent ends before its socket, so that nothing is carried when that is closed
    async with (
        asyncio.timeout(WAIT * 2),
        qemu,
        on_vsock(qemu, guest.path) as vsock,
        guest,
        led(root, qemu, guest, network=cards(), **how) as life,
    ):
        ours = f"unix://{qemu.run_dir / 'monitor.sock'}"
        assert life.url == (vsock.url if proxy is NoProxy else ours)
        yield life


@pytest.fixture(params=[BuiltinProxy, NoProxy], ids=["built in", "no proxy"])
def proxy(request: pytest.FixtureRequest) -> type[BuiltinProxy]:
    kind: type[BuiltinProxy] = request.param
    return kind


@pytest.mark.parametrize("version", RELEASES)
async def test_a_pods_whole_life(tmp_path: Path, proxy: type[BuiltinProxy], version: str):
    async with living(tmp_path, proxy=proxy, version=version) as life:
        said = await life.agent.info()
        assert (said.version, said.protocol, said.features) == (version, "ttrpc", frozenset())
        script = "echo out; echo err >&2; read line; echo got $line; exec sleep 1000"
        await life.start(Cmd(args=("/bin/sh", "-c", script), stdin=True))
        log = life.pod.container_log
        await until(lambda: b"err" in content(log) and b"out" in content(log))
        attachment = await life.pod.shim.attach(life.pod.run_dir, "c1")
        await attachment.write(b"typed\n")
        await until(lambda: b"stdout F got typed" in content(log))
        await attachment.detach()

        cmd = Cmd(args=("/bin/sh", "-c", "cat; echo no >&2; exit 7"), stdin=True)
        cat = await life.exec("e1", cmd)
        await cat.write(b"x" * 2_000_000)
        await cat.close_stdin()
        assert await everything(cat) == (b"x" * 2_000_000, b"no\n", 7)
        assert (await life.agent.stats(["c1"]))["c1"].cpu_ns == 7

        await life.agent.signal("c1", "c1", signal.SIGTERM, all=False)
        assert await life.ended() == signal.SIGKILL  # init without a handler
        await life.agent.remove_container("c1", timeout=5)
        await life.launch(Cmd(args=("/bin/sh", "-c", "seq 1 20000; exit 3")))
        assert await life.ended() == 3
        await until(lambda: content(log).count(b" stdout F ") >= 20000)
        # the monitor, and who has no proxy
        assert life.guest.connections == (2 if proxy is NoProxy else 1)


async def test_one_party_waits_for_a_process_and_does_so_last(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/sh", "-c", "echo out; echo err >&2; exit 4")))
        assert await life.ended() == 4
        order = [name for name, _ in life.guest.calls]
        assert order.count("WaitProcess") == 1
        last = max(at for at, name in enumerate(order) if name in {"ReadStdout", "ReadStderr"})
        assert last < order.index("WaitProcess")
        assert order.count("ReadStdout") == order.count("ReadStderr") == 2  # data, and its end


async def test_nothing_is_put_below_the_sandbox_folder_before_it_is_made_anew(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.agent.start_sandbox(pod_id=POD, hostname=POD, network=cards())
        order = [name for name, _ in life.guest.calls if name != "Check"]
        assert order[2:] == ["UpdateInterface", "UpdateRoutes", "CreateSandbox"]
        assert life.guest.called("CreateSandbox")[0].storages[0].mount_point == SHARE


async def test_a_terminal_has_its_size_and_its_signals(tmp_path: Path):
    async with living(tmp_path) as life:
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
        assert life.guest.called("ReadStderr") == life.guest.called("ReadStderr")[:2]


async def test_devices_and_filters_are_as_today_has_them(tmp_path: Path):
    """Devices by their PCI paths, the filter by its new numbers."""
    info = DeviceInfo(
        host_path="/dev/x", container_path="/dev/x", dev_type=DeviceType.BLOCK, major=8, minor=1
    )
    plugged = GuestDevice(info=info, place=Place(pci_path="02/00/1f"))
    rule = SeccompRule(
        names=("mkdir",),
        action="SCMP_ACT_ERRNO",
        args=(SeccompArg(index=0, value=1, op="SCMP_CMP_EQ"),),
    )
    linux = Linux(seccomp=Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,)))
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/true",)), devices=(plugged,), linux=linux)
        assert await life.ended() == 0
        (request,) = life.guest.called("CreateContainer")
        assert request.devices[0].id == "02/00/1f"
        (call,) = request.OCI.linux.Seccomp.Syscalls
        assert (call.Names, call.errnoret, call.Args[0].Op) == (["mkdir"], 1, "SCMP_CMP_EQ")


async def test_only_the_last_signal_reaches_all_processes(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        other = await life.exec("e1", Cmd(args=("/bin/sleep", "1000")))
        with pytest.raises(AgentUnsupported, match="only SIGKILL to all"):
            await life.agent.signal("c1", "c1", signal.SIGTERM, all=True)
        await life.agent.signal("c1", "c1", signal.SIGKILL, all=True)
        assert (await everything(other))[2] == signal.SIGKILL
        assert await life.ended() == signal.SIGKILL


@pytest.mark.parametrize("version", RELEASES)
async def test_what_only_our_agent_has_is_not_there_by_any_code(tmp_path: Path, version: str):
    """A service that it does not have is a wrong argument to it, as a container is that it does not
    know."""
    async with living(tmp_path, version=version) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        with pytest.raises(AgentUnsupported):
            await life.agent.processes("c1", ProcessListOptions(format=ProcessListFormat.TABLE))
        with pytest.raises(AgentUnsupported, match="only SIGKILL to all"):
            await life.agent.signal("c1", "c1", signal.SIGTERM, all=True)
        assert await life.agent.timeline() == ()
        await life.agent.prepare()


@pytest.mark.parametrize("version", RELEASES)
async def test_what_is_gone_is_told_as_that_by_any_code(tmp_path: Path, version: str):
    async with living(tmp_path, version=version) as life:
        await life.start(Cmd(args=("/bin/sh", "-c", "exit 3")))
        assert await life.ended() == 3
        for token in ("c1", "e1"):
            await life.agent.signal("c1", token, signal.SIGTERM, all=False)  # it is gone: no matter
        await life.agent.remove_container("c1", timeout=5)
        await life.agent.signal("c1", "c1", signal.SIGTERM, all=False)
        with pytest.raises(AgentError) as unknown:
            await life.agent.remove_container("c1", timeout=5)
        assert unknown.value.code == ttrpc.NOT_FOUND


async def test_a_user_by_name_is_refused_as_nobody_would_look_it_up(tmp_path: Path):
    """It would run as root."""
    async with living(tmp_path) as life:
        with pytest.raises(AgentUnsupported, match="by number only, not 'nobody'; give the number"):
            await life.start(Cmd(args=("/bin/sleep", "1000"), user="nobody"))
        assert life.guest.containers == {}
        await life.launch(Cmd(args=("/bin/sleep", "1000"), user="65534:65534"))
        (request,) = life.guest.called("CreateContainer")
        assert (request.OCI.process.user.UID, request.OCI.process.user.GID) == (65534, 65534)
        for cmd in (
            Cmd(args=("/bin/true",), user="0:staff"),
            Cmd(args=("/bin/true",), primary_group="staff"),
            Cmd(args=("/bin/true",), supplementary_groups=("4", "staff")),
        ):
            with pytest.raises(AgentUnsupported, match="not 'staff'"):
                await life.agent.exec("c1", "e1", cmd)
        assert life.guest.called("ExecProcess") == []


async def test_a_filter_that_would_be_passed_over_is_refused(tmp_path: Path):
    linux = Linux(seccomp=Seccomp(default_action="SCMP_ACT_ALLOW"))
    async with living(tmp_path, seccomp=False) as life:
        with pytest.raises(AgentUnsupported, match="has no seccomp, which container 'c1' asks for"):
            await life.start(Cmd(args=("/bin/true",)), linux=linux)
        assert life.guest.containers == {}


@pytest.mark.parametrize("version", RELEASES)
async def test_input_that_has_ended_harms_neither_terminal_nor_output(tmp_path: Path, version: str):
    """The end of a terminal's input would be the end of the terminal."""
    async with living(tmp_path, version=version) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        script = "while [ ! -e go ]; do sleep 0.02; done; echo said; exit 6"
        cmd = Cmd(args=("/bin/sh", "-c", script), work_dir=str(tmp_path), interactive=True)
        shell = await life.exec("e1", cmd)
        await shell.close_stdin()
        await shell.resize(3, 4)  # told after the end of the input
        await until(lambda: life.guest.called("TtyWinResize"))
        (tmp_path / "go").touch()
        said, _, status = await everything(shell)
        assert (said, status) == (b"said\r\n", 6)
        script = script.replace("go", "on")
        cmd = Cmd(args=("/bin/sh", "-c", script), work_dir=str(tmp_path), stdin=True)
        pipe = await life.exec("e2", cmd)
        await pipe.close_stdin()
        await pipe.write(b"late")
        await until(lambda: life.guest.called("WriteStdin"))
        (tmp_path / "on").touch()
        assert await everything(pipe) == (b"said\n", b"", 6)


@pytest.mark.parametrize("version", RELEASES)
async def test_new_processors_are_used(tmp_path: Path, version: str):
    """2.x is told how many are new, and its successors how many there are."""
    async with living(tmp_path, version=version) as life:
        life.guest.cpus, life.guest.plugged_cpus = 2, 1
        await life.agent.online(vcpus=3, plugged=1)
        assert life.guest.cpus == 3


@pytest.mark.parametrize("answers_last", [True, False])
async def test_a_guest_is_gone_after_its_sandbox(
    tmp_path: Path, proxy: type[BuiltinProxy], answers_last: bool
):
    async with living(tmp_path, proxy=proxy, answers_last=answers_last) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        await life.agent.stop_sandbox()
        with pytest.raises(AgentUnreachable):
            await life.agent.info()


async def test_what_a_policy_forbids_is_told_in_one_sentence(tmp_path: Path):
    async with living(tmp_path) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        life.guest.forbidden = {"ExecProcess"}
        with pytest.raises(AgentError, match="refused ExecProcess: ExecProcess is blocked") as why:
            await life.agent.exec("c1", "e1", Cmd(args=("/bin/true",)))
        assert "\n" not in str(why.value)


async def test_a_command_that_is_not_there_reads_127(tmp_path: Path, proxy: type[BuiltinProxy]):
    async with living(tmp_path, proxy=proxy) as life:
        await life.start(Cmd(args=("/bin/sleep", "1000")))
        with pytest.raises(CommandFailed) as failed:
            await life.agent.exec("c1", "e1", Cmd(args=("no-such-program",)))
        assert failed.value.exit_code == 127
        with pytest.raises(AgentError, match="ENOENT") as missing:
            await life.agent.exec("c1", "e1", Cmd(args=("/bin/true",), work_dir="/no/such"))
        assert not isinstance(missing.value, CommandFailed)  # it is its folder that is not there


async def test_an_agent_that_mounts_no_9p_any_more_says_so(tmp_path: Path):
    async with living(tmp_path, version="3.29.0") as life:
        with pytest.raises(
            AgentError, match=r"does not mount 9p; set hypervisor_config\.shared_fs"
        ):
            await life.agent.start_sandbox(pod_id=POD, hostname=POD)


async def test_an_agent_that_mounts_virtio_fs_only_is_given_that(tmp_path: Path):
    async with living(tmp_path, version="3.29.0") as life:
        await life.agent.start_sandbox(pod_id=POD, hostname=POD, shared_fs=SharedFs.VIRTIO_FS)
        (share,) = life.guest.called("CreateSandbox")[0].storages
        assert (share.driver, share.fstype, share.mount_point) == ("virtio-fs", "virtiofs", SHARE)


async def test_it_is_found_by_asking(tmp_path: Path):
    async with living(tmp_path, protocol=AgentProtocol.AUTO) as life:
        assert (await life.agent.info()).protocol == "ttrpc"
