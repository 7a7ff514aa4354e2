"""Real guests' boots: a pod's beside that of the bare kernel, what a whole run takes.

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
from tests.bench.host import PROGRAM, Bench, cpu, pss_mb, rss_mb, yardstick
from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.hypervisors.qemu.machine import Qemu
from vctui.engine.runtime import Runtime
from vctui.image.current import current_guest
from vctui.linux import files, sockets
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import Accelerator
from vctui.model.logs import LogSource
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
_RESTORED_REACH = 120
"""MB of an idle machine of 256 MiB; no promise of the design, but what it should not exceed."""


@dataclass(frozen=True, slots=True)
class Boot:
    wall: float
    cpu: float
    """Of QEMU, in seconds."""


async def figures(bench: Bench) -> list[Figure]:
    plain, cold, resident, own, monitors = [], [], [], [], []
    whole, costs, yards = [], [], []
    without = msgspec.structs.replace(bench.settings, template=Template(enabled=False))
    async with Runtime(without) as runtime:
        for _ in range(bench.runs):
            plain.append(await _bare_boot(bench.settings))
            cold.append(await _cold_boot(bench, runtime))
            machine, monitor = await _pids(runtime)
            monitors.append(rss_mb(monitor))
            resident.append(rss_mb(machine))
            await runtime.delete_pod(POD.id)
    async with Runtime(bench.settings) as runtime:
        for count in range(bench.runs + 1):
            yard = yardstick()
            wall, used, memory = await _first_output(bench, runtime)
            if count:  # the first one has built the template
                whole.append(wall)
                costs.append(used)
                yards.append(yard)
                own.append(memory)
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
        Figure(
            key="first-output",
            name="pod run to the container's first output, from a template",
            samples=whole,
            unit="s",
            reach=0.6,
            costs=costs,
            yards=yards,
        ),
        _memory("qemu-memory", "memory of a booted pod's QEMU (RSS)", resident, _BOOTED_REACH),
        _memory("qemu-memory-own", "... of one from a template (PSS)", own, _RESTORED_REACH),
        _memory("pod-monitor-memory", "memory of its monitor (RSS)", monitors, 25),
    ]


def _memory(key: str, name: str, samples: list[float], reach: float) -> Figure:
    costs = [one / reach for one in samples]
    return Figure(
        key=key,
        name=name,
        samples=samples,
        unit="MB",
        reach=reach,
        costs=costs,
        tolerance=0.5 if key == "qemu-memory-own" else 0.2,  # others share what QEMU maps
    )


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


async def _first_output(bench: Bench, runtime: Runtime) -> tuple[float, float, float]:
    """Seconds from the command's start to the time in the first line of the log; seconds of
    processor time of QEMU and of the command by its end; QEMU's own memory in MB then."""
    file = bench.settings.run_dir / "bench.json"
    args = [*POD.containers[0].cmd.args]
    container = {"id": "main", "rootfs": "busybox", "cmd": {"args": args}}
    file.write_bytes(msgspec.json.encode({"id": POD.id, "containers": [container]}))
    begin = time.time()
    ran = bench.run((PROGRAM, "pod", "run", str(file)))
    machine, _ = await _pids(runtime)
    used, memory = ran.cpu + cpu(machine), pss_mb(machine)
    async for line in runtime.logs(POD.id, LogSource.CONTAINER, "main", follow=True):
        if line.time is None:
            raise RuntimeError("the line has no time")
        first = line.time.timestamp()
        break
    await runtime.delete_pod(POD.id)
    return first - begin, used, memory


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
