"""KVM where it was proved to work on this host, emulation (TCG) elsewhere.

A /dev/kvm that opens proves nothing: on hosts that are virtual machines themselves, guests may
hang for ever, or QEMU abort on a register. So a kernel is booted with it once, up to its
complaint that it has no root file system, and the answer is remembered until the host reboots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from vctui.linux import files, locks, probe, process
from vctui.model.kinds import Accelerator

KVM: Final = Path("/dev/kvm")
_PATIENCE: Final = 10
"""Seconds; a kernel under a KVM that works needs about one."""
_REACHED: Final = b"Kernel panic - not syncing: VFS"
_FATAL: Final = b"Kernel panic"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """`kvm` or `tcg`, as QEMU calls them."""
    reason: str = ""
    """Why not KVM, in words; "" where nobody asks."""


class _Proof(msgspec.Struct, frozen=True, kw_only=True):
    works: bool
    reason: str
    program: str
    kernel: str


async def choose(
    wanted: Accelerator, *, program: Path, kernel: Path | None, state_dir: Path
) -> Choice:
    """Settle which accelerator a machine gets. Boots a guest the first time on each host boot.

    Args:
        kernel: what to boot for the proof; without one KVM is not used.
    """
    match wanted:
        case Accelerator.KVM:
            return Choice(name="kvm")
        case Accelerator.TCG:
            return Choice(name="tcg", reason="qemu.accelerator is tcg")
        case Accelerator.AUTO:
            return await _choose(program, kernel, state_dir)


def known(state_dir: Path) -> Choice | None:
    """What was found out since the host booted; None if nobody has looked yet. No waiting."""
    if problem := probe.device_problem(KVM):
        return Choice(name="tcg", reason=problem)
    proof = _remembered(_memory(state_dir))
    return None if proof is None else _choice(proof)


async def _choose(program: Path, kernel: Path | None, state_dir: Path) -> Choice:
    if problem := probe.device_problem(KVM):
        return Choice(name="tcg", reason=problem)
    if kernel is None:
        return Choice(name="tcg", reason="there is no kernel to prove KVM with")
    memory = _memory(state_dir)
    proof = _remembered(memory)
    if proof is None or not _settles(proof, program, kernel):
        async with locks.exclusive(state_dir / "kvm.lock"):  # ten pods at once: one proof
            proof = _remembered(memory)
            if proof is None or not _settles(proof, program, kernel):
                proof = await _prove(program, kernel)
                _remember(memory, proof)
    return _choice(proof)


def _settles(proof: _Proof, program: Path, kernel: Path) -> bool:
    """That KVM works is true for every guest; that it does not may be the kernel's fault."""
    return proof.works or (proof.program, proof.kernel) == (str(program), str(kernel))


def _choice(proof: _Proof) -> Choice:
    return Choice(name="kvm") if proof.works else Choice(name="tcg", reason=proof.reason)


async def _prove(program: Path, kernel: Path) -> _Proof:
    machine = (
        *(program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35,accel=kvm", "-cpu", "host", "-m", "128", "-serial", "stdio"),
        *("-kernel", kernel, "-append", "console=ttyS0 panic=-1 quiet"),
    )
    # `timeout` ends it even when we are killed meanwhile.
    done = await process.run(("timeout", "--foreground", "--signal=KILL", str(_PATIENCE), *machine))
    reason = ""
    if _REACHED not in done.stdout:
        reason = f"KVM does not work here: {_why(done)}"
    return _Proof(works=not reason, reason=reason, program=str(program), kernel=str(kernel))


def _why(done: process.Completed) -> str:
    if done.returncode in {124, 137, -9}:
        return f"a guest had not booted after {_PATIENCE} s"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if said:
        return said[0].removeprefix("qemu-system-x86_64: ").removeprefix("error: ")
    if _FATAL in done.stdout:
        return "a guest's kernel panicked"
    return f"QEMU ended with status {done.returncode}"


def _memory(state_dir: Path) -> Path:
    return state_dir / f"kvm-{probe.boot_id()}.json"


def _remembered(memory: Path) -> _Proof | None:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=_Proof)
    except (OSError, msgspec.MsgspecError):
        return None


def _remember(memory: Path, proof: _Proof) -> None:
    for old in memory.parent.glob("kvm-*.json"):
        old.unlink(missing_ok=True)
    files.write_atomic(memory, msgspec.json.encode(proof))
