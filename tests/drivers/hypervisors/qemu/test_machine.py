"""Promises of the QEMU driver, with the real QEMU where it is marked `vm`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from msgspec import structs

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.base import MachinePlan, Port, Share
from vctui.drivers.hypervisors.qemu import cmdline, program, qmp
from vctui.drivers.hypervisors.qemu import machine as machine_module
from vctui.drivers.hypervisors.qemu.machine import Qemu
from vctui.errors import (
    FileProblem,
    GuestNotBuilt,
    HostProblem,
    HypervisorError,
    InvalidConfig,
    MachineDied,
    MissingProgram,
)
from vctui.linux import probe, process, sockets
from vctui.linux.probe import HugePages
from vctui.model.hypervisor import HypervisorConfig, Param
from vctui.model.kinds import EndpointType, MachineType, NetInterworkingModel
from vctui.model.network import Endpoint, Interface, PhysicalDevice

QEMU = "qemu-system-x86_64"
MACHINE_ENDS = 10.0


@pytest.fixture
def hypervisor(tmp_path):
    return Qemu(tmp_path / "state")


@pytest.fixture
def plan(tmp_path):
    """A machine without a kernel: its firmware finds nothing to boot and waits."""
    run = tmp_path / "run"
    (run / "share").mkdir(parents=True)
    (tmp_path / "vmlinux").touch()

    def make(config: HypervisorConfig | None = None, **fields) -> MachinePlan:
        usual = {
            "config": config or HypervisorConfig(),
            "kernel_params": ("console=ttyS0",),
            "memory": 64,
        }
        return machine_plan(fields.pop("run_dir", run), **{**usual, **fields})

    return make


@pytest.fixture
def fake_qemu(tmp_path):
    """Makes a program that passes for QEMU until it is to start a machine."""

    def make(script: str, *, devices: str = 'name "virtio-9p-pci"') -> str:
        path = tmp_path / "fake-qemu"
        path.write_text(
            "#!/bin/sh\n"
            'case "$*" in *-version*) echo QEMU emulator version 7.0; exit 0;; esac\n'
            f"""case "$*" in "-device help") echo '{devices}'; exit 0;; esac\n{script}\n"""
        )
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
async def running(hypervisor, plan):
    """A real machine with its plan."""
    wanted = plan()
    machine = await hypervisor.start(wanted)
    yield wanted, machine
    await hypervisor.stop(wanted.run_dir, machine, timeout=5)


def leftovers(run_dir: Path) -> list[process.Spawned]:
    return process.find_by_argument(run_dir)


async def status(run_dir: Path) -> str:
    async with qmp.connect(run_dir / "ctl.sock") as session:
        return (await session.execute("query-status"))["status"]


def replace_program(path: Path, *, stamp: int) -> None:
    """By one that always fails."""
    path.write_text("#!/bin/sh\nexit 1\n")
    os.utime(path, ns=(1, stamp))


# What can be wrong before anything is made


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"hypervisor_path": "no-qemu"}, MissingProgram, "apt-get install qemu-system-x86"),
        ({"memory": 96, "min_memory": 128}, InvalidConfig, r"vm_config\.memory.*96.*128 MiB"),
        ({"memory": 0}, InvalidConfig, r"vm_config\.memory"),
        ({"vcpus": 0}, InvalidConfig, r"vm_config\.vcpus"),
        ({"vcpus": 256}, InvalidConfig, r"vm_config\.vcpus"),
        ({"kernel": None}, GuestNotBuilt, "vctui guest build"),
        ({"kernel": Path("/no/vmlinux")}, FileProblem, r"/no/vmlinux.*kernel_path.*'web'"),
        ({"initrd": Path("/no/initrd")}, FileProblem, "initrd_path"),
        ({"kernel_params": ("x" * 3000,)}, InvalidConfig, "kernel_params"),
    ],
)
def test_check_names_what_is_wrong(hypervisor, plan, tmp_path, fields, kind, words):
    good = {"kernel": tmp_path / "vmlinux", "hypervisor_path": "/bin/sh"}
    hypervisor.check(plan(**good))
    with pytest.raises(kind, match=words):
        hypervisor.check(plan(**{**good, **fields}))


def test_check_reads_the_firmware_too(hypervisor, plan, tmp_path):
    config = HypervisorConfig(firmware_path="/no/firmware")
    with pytest.raises(FileProblem, match="firmware_path"):
        hypervisor.check(plan(config, kernel=tmp_path / "vmlinux", hypervisor_path="/bin/sh"))


@pytest.mark.parametrize(
    ("size", "accelerators", "words"),
    [
        (4096, "", r"disk\.img.*image_path.*'web'.*no ext4"),
        (0, "", "no ext4"),
        (4096, "nvdimm", "4096 bytes, but an NVDIMM"),
    ],
)
def test_check_looks_into_the_image(hypervisor, plan, tmp_path, size, accelerators, words):
    image = tmp_path / "disk.img"
    config = HypervisorConfig(machine_accelerators=accelerators)
    wanted = plan(config, kernel=tmp_path / "vmlinux", hypervisor_path="/bin/sh", image=image)
    with pytest.raises(FileProblem, match="cannot read"):
        hypervisor.check(wanted)
    image.write_bytes(bytes(size))
    with pytest.raises(FileProblem, match=words):
        hypervisor.check(wanted)


@pytest.mark.parametrize(
    ("there", "kind", "words"),
    [
        (HugePages(None, 2, 0), HostProblem, "hugetlbfs is not mounted"),
        (HugePages(Path("/h"), 1024, 4096), InvalidConfig, "multiple of the huge page of 1024"),
        (HugePages(Path("/h"), 2, 62), HostProblem, "64 MiB of huge pages.*has 62 MiB free"),
    ],
)
def test_check_counts_huge_pages(hypervisor, plan, tmp_path, monkeypatch, there, kind, words):
    wanted = plan(
        HypervisorConfig(huge_pages=True), kernel=tmp_path / "vmlinux", hypervisor_path="/bin/sh"
    )
    monkeypatch.setattr(probe, "huge_pages", lambda: HugePages(Path("/h"), 2, 64))
    hypervisor.check(wanted)
    monkeypatch.setattr(probe, "huge_pages", lambda: there)
    with pytest.raises(kind, match=words):
        hypervisor.check(wanted)


# A machine that does not come up


async def test_the_last_words_of_a_qemu_that_ends_at_once_are_told(hypervisor, plan, fake_qemu):
    wanted = plan(hypervisor_path=fake_qemu("echo first >&2; echo no memory >&2; exit 1"))
    with pytest.raises(MachineDied, match=r"pod 'web' \(status 1; it said: first; no memory\)"):
        await hypervisor.start(wanted)
    assert leftovers(wanted.run_dir) == []


async def test_a_qemu_that_is_killed_at_once_is_told_with_its_signal(hypervisor, plan, fake_qemu):
    with pytest.raises(MachineDied, match="signal 6; it said nothing"):
        await hypervisor.start(plan(hypervisor_path=fake_qemu("kill -ABRT $$")))


async def test_last_words_are_of_this_start_only(hypervisor, plan, fake_qemu):
    for words in ("one", "two"):
        wanted = plan(hypervisor_path=fake_qemu(f"echo {words} >&2; exit 1"))
        with pytest.raises(MachineDied, match=f"it said: {words}\\)"):
            await hypervisor.start(wanted)


async def test_a_start_that_is_cancelled_leaves_no_process(hypervisor, plan, fake_qemu):
    wanted = plan(hypervisor_path=fake_qemu("kill -STOP $$"))
    task = asyncio.create_task(hypervisor.start(wanted))
    async with asyncio.timeout(MACHINE_ENDS):
        while not leftovers(wanted.run_dir):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(wanted.run_dir) == []


async def test_a_qemu_without_9p_is_told_before_it_starts(hypervisor, plan, fake_qemu):
    wanted = plan(hypervisor_path=fake_qemu("exit 1", devices="none"))
    with pytest.raises(HostProblem, match="without virtio-9p"):
        await hypervisor.start(wanted)


async def test_a_program_that_is_no_qemu_is_told(hypervisor, plan):
    with pytest.raises(HypervisorError, match="does not work"):
        await hypervisor.start(plan(hypervisor_path="/bin/false"))


async def test_what_was_found_out_of_qemu_is_remembered_until_it_changes(tmp_path, fake_qemu):
    path = Path(fake_qemu(f"echo asked >> {tmp_path}/count"))
    first = await program.examine(path, state_dir=tmp_path)
    assert (first.version, first.sandbox, first.nine_p) == ("7.0", True, True)
    replace_program(path, stamp=first.stamp)
    assert await program.examine(path, state_dir=tmp_path) == first
    replace_program(path, stamp=first.stamp + 1)
    with pytest.raises(HypervisorError):
        await program.examine(path, state_dir=tmp_path)


async def test_a_folder_that_cannot_be_written_to_remembers_nothing(tmp_path, fake_qemu):
    place = tmp_path / "file"
    place.touch()
    found = await program.examine(Path(fake_qemu("exit 0")), state_dir=place)
    assert found.version == "7.0"


@pytest.mark.vm
async def test_the_real_qemus_complaint_is_told(hypervisor, plan):
    config = HypervisorConfig(hypervisor_params=(Param(key="no-such-option"),))
    with pytest.raises(MachineDied, match="no-such-option: invalid option"):
        await hypervisor.start(plan(config))


# A machine that runs


@pytest.mark.vm
async def test_its_sockets_accept_connections_and_are_private(running):
    wanted, _ = running
    for name, path in cmdline.sockets(wanted).items():
        assert path.stat().st_mode & 0o777 == 0o600, name
        (await sockets.connect(path)).close()
    assert (wanted.run_dir / "qemu.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.vm
async def test_it_can_be_found_by_its_folder(running):
    wanted, machine = running
    assert leftovers(wanted.run_dir) == [process.Spawned(machine.pid, machine.pid_started)]


@pytest.mark.vm
async def test_pause_and_resume_are_checked(hypervisor, running):
    wanted, machine = running
    await hypervisor.pause(wanted.run_dir, machine)
    assert await status(wanted.run_dir) == "paused"
    await hypervisor.resume(wanted.run_dir, machine)
    assert await status(wanted.run_dir) == "running"


@pytest.mark.vm
async def test_events_come_to_the_monitors_socket(hypervisor, running):
    wanted, machine = running
    async with qmp.connect(wanted.run_dir / "mon.sock") as session:
        await hypervisor.pause(wanted.run_dir, machine)
        await hypervisor.stop(wanted.run_dir, machine, timeout=5)
        async with asyncio.timeout(MACHINE_ENDS):
            seen = {event["event"]: event async for event in session.events()}
    assert "STOP" in seen
    assert seen["SHUTDOWN"]["data"]["reason"] == "host-qmp-quit"


@pytest.mark.vm
async def test_a_refused_command_is_an_error_of_ours(running):
    wanted, _ = running
    async with qmp.connect(wanted.run_dir / "ctl.sock") as session:
        with pytest.raises(HypervisorError, match="no-such-command"):
            await session.execute("no-such-command")
        assert (await session.execute("query-status"))["status"] == "running"


@pytest.mark.vm
async def test_a_machine_that_hangs_is_killed(hypervisor, running):
    wanted, machine = running
    os.kill(machine.pid, signal.SIGSTOP)
    async with asyncio.timeout(MACHINE_ENDS):
        await hypervisor.stop(wanted.run_dir, machine, timeout=0.2)
    assert not hypervisor.alive(machine)


@pytest.mark.vm
async def test_a_machine_that_is_gone_is_told_as_that(hypervisor, running):
    wanted, machine = running
    os.kill(machine.pid, signal.SIGKILL)
    assert await process.wait_end(machine.pid, machine.pid_started) == -signal.SIGKILL
    assert not hypervisor.alive(machine)
    with pytest.raises(MachineDied, match="start the pod again"):
        await hypervisor.pause(wanted.run_dir, machine)
    await hypervisor.stop(wanted.run_dir, machine, timeout=5)


@pytest.mark.vm
async def test_a_long_path_of_the_pods_folder_does_not_matter(hypervisor, plan, tmp_path):
    run = tmp_path / ("long-" * 40)
    (run / "share").mkdir(parents=True)
    wanted = plan(
        run_dir=run,
        ports=(Port(name="agent.channel.0", socket=run / "agent.sock"),),
        shares=(Share(tag="kataShared", path=run / "share"),),
    )
    machine = await hypervisor.start(wanted)
    try:
        assert await status(run) == "running"
    finally:
        await hypervisor.stop(run, machine, timeout=5)
    assert not hypervisor.alive(machine)


@pytest.mark.vm
async def test_the_other_machine_type_and_preallocated_memory_come_up(hypervisor, plan):
    config = HypervisorConfig(hypervisor_machine_type=MachineType.PC, mem_prealloc=True)
    wanted = plan(config)
    machine = await hypervisor.start(wanted)
    assert hypervisor.alive(machine)
    await hypervisor.stop(wanted.run_dir, machine, timeout=5)


def served_card(socket: Path) -> Endpoint:
    return Endpoint(
        type=EndpointType.VHOST_USER,
        index=0,
        interface=Interface(name="eth0", mac="02:00:00:00:00:02", mtu=1500),
        model=NetInterworkingModel.TC_FILTER,
        socket=str(socket),
    )


@pytest.mark.vm
async def test_a_card_that_is_served_in_silence_is_named(hypervisor, plan, tmp_path, monkeypatch):
    monkeypatch.setattr(machine_module, "_GREETING", 2.0)
    socket = tmp_path / "vhu.sock"
    wanted = plan(endpoints=(served_card(socket),))
    said = rf"serves interface 'eth0' by vhost-user on {socket} may not answer it: start that anew"
    with sockets.listen(socket), pytest.raises(HypervisorError, match=said):
        await hypervisor.start(wanted)
    assert process.find_by_argument(wanted.run_dir) == []


@pytest.mark.vm
async def test_what_an_emulated_microvm_cannot_have_is_refused(hypervisor, plan, tmp_path):
    served = served_card(tmp_path / "vhu.sock")
    card = PhysicalDevice(bdf="0000:03:00.0", driver="ixgbe", vendor_device="8086 10fb")
    passed = structs.replace(served, socket="", physical=card)
    config = HypervisorConfig(hypervisor_machine_type=MachineType.MICROVM)
    for endpoint, said in ((served, "reaches no emulated microvm; set"), (passed, "0000:03:00.0")):
        with pytest.raises(InvalidConfig, match=said):
            await hypervisor.start(plan(config, endpoints=(endpoint,)))


async def test_nobody_on_the_control_socket_is_an_error_of_ours(tmp_path):
    with pytest.raises(HypervisorError, match="cannot reach QEMU"):
        async with qmp.connect(tmp_path / "ctl.sock"):
            pass


async def test_a_qemu_that_does_not_greet_is_given_up(tmp_path):
    with sockets.listen(tmp_path / "ctl.sock"), pytest.raises(HypervisorError, match="not greet"):
        async with qmp.connect(tmp_path / "ctl.sock", timeout=0.1):
            pass
