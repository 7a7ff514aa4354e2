"""Real guests: how long they take to boot, what a command in one costs, what its monitor weighs.

Both boots are measured alike, from the call that starts QEMU on: the bare one to the first
line of its `/init`, ours to the agent's first answer. The two are taken in turn, so that a
machine whose speed drifts does not favour one.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil

from tests.bench import bare
from tests.bench.figures import Figure
from tests.bench.programs import PROGRAM, timed
from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.hypervisors.qemu.machine import Qemu
from vctui.engine.runtime import Runtime
from vctui.image.current import current_guest
from vctui.linux import files, sockets
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import Accelerator
from vctui.model.pod import PodConfig
from vctui.settings import Settings

_POD = PodConfig(
    id="bench",
    containers=(ContainerConfig(id="main", rootfs="busybox", cmd=Cmd(args=("sleep", "100000"))),),
)
_AGENT_ANSWERED = "preparing the guest"
"""The phase that the engine tells next."""


async def figures(settings: Settings, runs: int) -> list[Figure]:
    bare_boots, cold_boots, monitors = [], [], []
    async with Runtime(settings) as runtime:
        for _ in range(runs):
            bare_boots.append(await _bare_boot(settings))
            cold_boots.append(await _cold_boot(runtime))
            monitor = psutil.Process((await runtime.status_pod("bench")).monitor_pid)
            monitors.append(monitor.memory_info().rss / 1e6)
            await runtime.delete_pod("bench")
        await runtime.run_pod(_POD)
        command = [PROGRAM, "container", "exec", "bench", "main", "--", "true"]
        execs = timed(command, settings, runs * 2)
        await runtime.delete_pod("bench")
    over_bare = [cold / plain for cold, plain in zip(cold_boots, bare_boots, strict=True)]
    return [
        Figure(
            name="cold boot to the agent's answer, over a bare boot",
            samples=over_bare,
            unit="x",
            reach=1.6,
        ),
        Figure(name="container exec -- true, whole command", samples=execs, unit="s", reach=0.35),
        Figure(name="memory of a monitor (RSS)", samples=monitors, unit="MB", reach=25),
    ]


async def _cold_boot(runtime: Runtime) -> float:
    phases: dict[str, float] = {}
    await runtime.run_pod(
        _POD, progress=lambda phase: phases.setdefault(phase, time.perf_counter())
    )
    return phases[_AGENT_ANSWERED] - phases["booting the virtual machine"]


async def _bare_boot(settings: Settings) -> float:
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
            took = time.perf_counter() - begin
            writer.close()
            return took
        finally:
            await hypervisor.stop(Path(folder), machine, timeout=1.0)
