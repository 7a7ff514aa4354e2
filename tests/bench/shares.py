"""Files of the host in a guest: 9p beside virtio-fs, in turn, each in a pod of its own.

What is read was never read before, as a guest keeps what it has read on virtio-fs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.boots import POD
from tests.bench.figures import Figure
from tests.bench.host import Bench, cpu, yardstick
from vctui.drivers.storage import virtiofs
from vctui.engine import paths
from vctui.engine.runtime import Runtime
from vctui.errors import VctuiError
from vctui.linux import process
from vctui.model.container import Cmd
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import SharedFs
from vctui.model.pod import PodConfig

_BYTES: Final = 16 << 20
_FILES: Final = 200
_KINDS: Final = {
    "read": ("MB/s", 20.0, "read a file of the host"),
    "write": ("MB/s", 20.0, "write a file of the host"),
    "files": ("/s", 200.0, "read small files of the host"),
}
"""Unit, and what is to be reached: no promise of the design, but what containers need."""


@dataclass(slots=True)
class _Subject:
    config: PodConfig
    rootfs: Path
    """Of its container, on the host."""
    pids: tuple[int, ...] = ()
    samples: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})
    costs: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})


async def figures(bench: Bench) -> list[Figure]:
    yards = []
    subjects = {kind: _subject(bench, kind) for kind in await _shared_fs(bench)}
    async with Runtime(bench.settings) as runtime:
        for one in subjects.values():
            status = await runtime.run_pod(one.config)
            if status.machine is None:
                raise RuntimeError("the pod has no machine")
            served = process.find_by_argument(paths.of_pod(bench.settings, one.config.id).run)
            one.pids = tuple({status.machine.pid, *(found.pid for found in served)})
        for count in range(bench.runs):
            yards.append(yardstick())
            for one in subjects.values():
                await _measure(runtime, one, count)
        for one in subjects.values():
            await runtime.delete_pod(one.config.id)
    return [
        Figure(
            key=f"share-{key}-{kind}",
            name=f"{name}, {kind}",
            samples=one.samples[key],
            unit=unit,
            reach=reach,
            costs=one.costs[key],
            yards=yards,
            tolerance=1.0,  # as with output: emulated copying depends on the host's caches
            more_is_better=True,
        )
        for key, (unit, reach, name) in _KINDS.items()
        for kind, one in subjects.items()
    ]


async def _shared_fs(bench: Bench) -> tuple[SharedFs, ...]:
    try:
        virtiofs.check(await virtiofs.examine(virtiofs.find(bench.settings.qemu.virtiofsd)))
    except VctuiError:
        return (SharedFs.NINE_P,)
    return tuple(SharedFs)


def _subject(bench: Bench, kind: SharedFs) -> _Subject:
    config = msgspec.structs.replace(
        POD, id=f"bench-{kind}", hypervisor_config=HypervisorConfig(shared_fs=kind)
    )
    return _Subject(config, paths.of_pod(bench.settings, config.id).rootfs / "main/rootfs")


async def _measure(runtime: Runtime, one: _Subject, count: int) -> None:
    large, small = one.rootfs / f"large{count}", one.rootfs / f"small{count}"
    large.write_bytes(os.urandom(_BYTES))
    small.mkdir()
    for number in range(_FILES):
        (small / str(number)).write_bytes(b"x" * 2000)
    await _one(runtime, one, "read", _BYTES / 1e6, f"dd if=/{large.name} of=/dev/null bs=256k")
    copy = f"dd if=/dev/zero of=/copy{count} bs=256k count={_BYTES >> 18} conv=fsync"
    await _one(runtime, one, "write", _BYTES / 1e6, copy)
    await _one(runtime, one, "files", _FILES, f"cat /{small.name}/* >/dev/null")


async def _one(runtime: Runtime, one: _Subject, key: str, amount: float, script: str) -> None:
    spent = _cpu_of(one.pids)
    begin = time.perf_counter()
    cmd = Cmd(args=("sh", "-c", f"{script} 2>/dev/null"))
    ran = await runtime.enter_container(one.config.id, "main", cmd)
    attachment = await runtime.attach(one.config.id, "main", ran.token)
    await attachment.close_stdin()
    async for _ in attachment:
        pass
    one.samples[key].append(amount / (time.perf_counter() - begin))
    one.costs[key].append(spent() / amount)


def _cpu_of(pids: tuple[int, ...]) -> Callable[[], float]:
    """Gives what the processes have used since, and their children, which serve in a sandbox."""

    def used() -> float:
        inside = [
            int(child)
            for pid in pids
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
        return cpu(*pids, *inside)

    before = used()
    return lambda: used() - before
