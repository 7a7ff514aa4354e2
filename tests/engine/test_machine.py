"""What a pod's machine is planned to be."""

from __future__ import annotations

import os
from pathlib import Path

from vctui.engine import machine
from vctui.engine.context import Context
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.pod import PodConfig
from vctui.settings import Settings
from vctui.store.memory import MemoryStore


def test_a_guest_of_ones_own_needs_memory_for_its_initrd(settings: Settings, tmp_path: Path):
    initrd = tmp_path / "initrd"
    initrd.touch()
    os.truncate(initrd, 300 * 1024 * 1024 + 1)
    wanted = HypervisorConfig(kernel_path="/vmlinuz", initrd_path=str(initrd))
    ctx = Context(settings=settings, store=MemoryStore())
    config = PodConfig(id="web", hypervisor_config=wanted)
    assert machine.plan(ctx, config).min_memory == 301
    initrd.unlink()
    assert machine.plan(ctx, config).min_memory == 0
