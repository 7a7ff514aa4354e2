"""Plans of machines that have what any machine has, and no guest."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from vctui.drivers.hypervisors.base import MachinePlan, Port, Share
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import Accelerator


def machine_plan(run_dir: Path, **fields: Any) -> MachinePlan:
    """Of an emulated machine of pod `web`, which is not made here; `fields` are as they say."""
    usual = {
        "pod_id": "web",
        "uuid": str(uuid.uuid4()),
        "run_dir": run_dir,
        "config": HypervisorConfig(),
        "hypervisor_path": "qemu-system-x86_64",
        "accelerator": Accelerator.TCG,
        "kernel": None,
        "initrd": None,
        "image": None,
        "kernel_params": (),
        "vcpus": 1,
        "memory": 256,
        "min_memory": 0,
        "ports": (Port(name="agent.channel.0", socket=run_dir / "agent.sock"),),
        "shares": (Share(tag="kataShared", path=run_dir / "share"),),
    }
    return MachinePlan(**{**usual, **fields})
