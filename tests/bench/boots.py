"""Real guests' boots: a pod's beside that of the bare kernel.

Both are measured alike, from the call that starts QEMU on: the bare one to the first line of its
`/init`, ours to the agent's first answer. The two are taken in turn, so that a machine whose
speed drifts does not favour one.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.bench import bare
from tests.bench.figures import Figure
from tests.bench.host import Bench, cpu, rss_mb
from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.hypervisors.qemu.machine import Qemu
from vctui.engine.runtime import Runtime
from vctui.image.current import current_guest
from vctui.linux import files, sockets
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import Accelerator
from vctui.model.pod import PodConfig
from vctui.settings import Settings, Template
from vctui.store.sqlite import SqliteStore

POD = PodConfig(
    id="bench",
    containers=(
        ContainerConfig(
            id="main",
            rootfs="busybox",
            cmd=Cmd(args=("sh", "-c", "echo first; exec sleep 100000")),
        ),
    ),
)
_BOOTING = "booting the virtual machine"
_AGENT_ANSWERED = "preparing the guest"
"""Phases that the engine tells: before it starts QEMU, and after the agent's first answer."""
_BOOTED_REACH = 350
"""MB of an idle machine of 256 MiB; no promise of the design, but what it should not exceed."""


@dataclass(frozen=True, slots=True)
class Boot:
    wall: float
    cpu: float
    """Of QEMU, in seconds."""


async def figures(bench: Bench) -> list[Figure]:
    plain, cold, resident, monitors = [], [], [], []
    without = msgspec.structs.replace(bench.settings, template=Template(enabled=False))
    async with Runtime(without) as runtime:
        for _ in range(bench.runs):
            plain.append(await _bare_boot(bench.settings))
            cold.append(await _cold_boot(bench, runtime))
            machine, monitor = await _pids(runtime)
            monitors.append(rss_mb(monitor))
            resident.append(rss_mb(machine))
            await runtime.delete_pod(POD.id)
    return [
        Figure(
            key="cold-boot",
            name="cold boot to the agent's answer, over a bare boot",
            samples=[ours.wall / bare.wall for ours, bare in zip(cold, plain, strict=True)],
            unit="x",
            reach=1.6,
            costs=[boot.cpu for boot in cold],
            yards=[boot.cpu for boot in plain],
        ),
        _memory("qemu-memory", "memory of a booted pod's QEMU (RSS)", resident, _BOOTED_REACH),
        _memory("pod-monitor-memory", "memory of its monitor (RSS)", monitors, 25),
    ]


def _memory(key: str, name: str, samples: list[float], reach: float) -> Figure:
    costs = [one / reach for one in samples]
    return Figure(key=key, name=name, samples=samples, unit="MB", reach=reach, costs=costs)


async def _cold_boot(bench: Bench, runtime: Runtime) -> Boot:
    store = SqliteStore(bench.settings.state_dir)
    times: dict[str, float] = {}
    used: dict[str, float] = {}

    def told(phase: str) -> None:
        times.setdefault(phase, time.perf_counter())
        if machine := store.pod(POD.id).machine:
            used.setdefault(phase, cpu(machine.pid))

    await runtime.run_pod(POD, progress=told)
    store.close()
    return Boot(times[_AGENT_ANSWERED] - times[_BOOTING], used[_AGENT_ANSWERED])


async def _pids(runtime: Runtime) -> tuple[int, int]:
    """Of QEMU and of the monitor."""
    status = await runtime.status_pod(POD.id)
    if status.machine is None:
        raise RuntimeError("the pod has no machine")
    return status.machine.pid, status.monitor_pid


async def _bare_boot(settings: Settings) -> Boot:
    guest = current_guest(settings)
    hypervisor = Qemu(settings.cache_dir)
    with tempfile.TemporaryDirectory(dir=files.private_dir(settings.run_dir)) as folder:
        initrd = Path(folder, "initrd")
        files.write_atomic(initrd, bare.initrd(guest))
        plan = MachinePlan(
            pod_id="bare",
            uuid="00000000-0000-4000-8000-000000000000",
            run_dir=Path(folder),
            config=HypervisorConfig(),
            hypervisor_path=settings.qemu.path,
            accelerator=Accelerator.AUTO,
            kernel=Path(guest.kernel),
            initrd=initrd,
            image=None,
            kernel_params=guest.kernel_params,
            vcpus=1,
            memory=settings.pod.memory,
            min_memory=0,
        )
        begin = time.perf_counter()
        machine = await hypervisor.start(plan)
        try:
            reader, writer = await sockets.open_connection(Path(folder, "serial.sock"))
            await reader.readuntil(bare.MARK.encode())
            took = Boot(time.perf_counter() - begin, cpu(machine.pid))
            writer.close()
            return took
        finally:
            await hypervisor.stop(Path(folder), machine, timeout=1.0)
