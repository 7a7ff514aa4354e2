"""Promises of the proof of KVM: in bounded time, once for a boot, and never believed untested."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vctui.drivers.hypervisors.qemu import accel
from vctui.linux import probe
from vctui.model.kinds import Accelerator


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def kernel(tmp_path):
    return tmp_path / "vmlinux"


@pytest.fixture
def device(monkeypatch):
    """A /dev/kvm that opens."""
    monkeypatch.setattr(probe, "device_problem", lambda path: "")


@pytest.fixture
def qemu(tmp_path, device):
    """Makes a QEMU that does as a shell script says, and counts its calls."""

    def make(script: str) -> Path:
        path = tmp_path / "qemu"
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
        path.chmod(0o755)
        return path

    make.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    return make


BOOTS = "echo 'Kernel panic - not syncing: VFS: Unable to mount root fs'"
ABORTS = "echo 'qemu-system-x86_64: error: failed to set MSR 0x10a' >&2; kill -ABRT $$"


async def choose(program, kernel, state, wanted=Accelerator.AUTO):
    return await accel.choose(wanted, program=program, kernel=kernel, state_dir=state)


async def test_a_kernel_that_comes_to_its_root_file_system_proves_kvm(qemu, kernel, state):
    program = qemu(BOOTS)
    assert await choose(program, kernel, state) == accel.Choice(name="kvm")
    assert accel.known(state) == accel.Choice(name="kvm")
    assert "accel=kvm" in qemu.calls()[0]


async def test_a_qemu_that_aborts_means_tcg_with_its_words(qemu, kernel, state):
    choice = await choose(qemu(ABORTS), kernel, state)
    assert choice.name == "tcg"
    assert "failed to set MSR 0x10a" in choice.reason
    assert accel.known(state) == choice


async def test_a_guest_that_hangs_means_tcg_in_bounded_time(qemu, kernel, state, monkeypatch):
    monkeypatch.setattr(accel, "_PATIENCE", 0.2)
    async with asyncio.timeout(10):
        choice = await choose(qemu("exec sleep 60"), kernel, state)
    assert choice.name == "tcg"
    assert "had not booted" in choice.reason


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Kernel panic - not syncing: something else'", "kernel panicked"),
        ("exit 7", "status 7"),
    ],
)
async def test_any_other_end_is_no_proof(qemu, kernel, state, script, words):
    choice = await choose(qemu(script), kernel, state)
    assert choice.name == "tcg"
    assert words in choice.reason


async def test_ten_pods_at_once_make_one_proof(qemu, kernel, state):
    program = qemu(f"sleep 0.2; {ABORTS}")
    choices = await asyncio.gather(*(choose(program, kernel, state) for _ in range(10)))
    assert {choice.name for choice in choices} == {"tcg"}
    assert len(qemu.calls()) == 1


async def test_the_answer_is_asked_again_after_a_reboot(qemu, kernel, state, monkeypatch):
    program = qemu(BOOTS)
    await choose(program, kernel, state)
    monkeypatch.setattr(probe, "boot_id", lambda: "another")
    assert accel.known(state) is None
    await choose(program, kernel, state)
    assert len(qemu.calls()) == 2
    assert [path.name for path in state.glob("kvm-*.json")] == ["kvm-another.json"]


async def test_a_failure_with_one_kernel_says_nothing_about_another(qemu, kernel, state):
    program = qemu(f'case "$*" in *good*) {BOOTS};; *) {ABORTS};; esac')
    assert (await choose(program, kernel, state)).name == "tcg"
    assert (await choose(program, kernel.with_name("good"), state)).name == "kvm"
    assert (await choose(program, kernel, state)).name == "kvm"


async def test_garbage_in_the_memory_is_looked_over(qemu, kernel, state):
    (state / f"kvm-{probe.boot_id()}.json").write_bytes(b"{garbage")
    assert accel.known(state) is None
    assert (await choose(qemu(BOOTS), kernel, state)).name == "kvm"


async def test_nothing_is_booted_where_it_is_known_already(tmp_path, kernel, state, monkeypatch):
    program = tmp_path / "never-run"
    monkeypatch.setattr(probe, "device_problem", lambda path: f"there is no {path}")
    assert (await choose(program, kernel, state)).reason == "there is no /dev/kvm"
    assert accel.known(state).name == "tcg"
    assert (await choose(program, kernel, state, Accelerator.KVM)).name == "kvm"
    assert (await choose(program, kernel, state, Accelerator.TCG)).name == "tcg"
    monkeypatch.setattr(probe, "device_problem", lambda path: "")
    assert "no kernel" in (await choose(program, None, state)).reason


async def test_a_cancelled_proof_leaves_no_process_and_no_answer(qemu, kernel, state, tmp_path):
    program = qemu(
        f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60"
    )
    task = asyncio.create_task(choose(program, kernel, state))
    async with asyncio.timeout(10):
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - made by another process
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert accel.known(state) is None
