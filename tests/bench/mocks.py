"""Pods without machines, put into the store at once: what a command would make of them, quickly."""

from __future__ import annotations

from datetime import UTC, datetime

from vctui.model.container import Cmd, ContainerConfig, ContainerRecord
from vctui.model.hypervisor import Machine
from vctui.model.kinds import AgentType, HypervisorType
from vctui.model.pod import PodConfig, PodRecord
from vctui.model.state import State
from vctui.settings import Settings
from vctui.store.sqlite import SqliteStore


def name(number: int) -> str:
    return f"mock-{number:04}"


def fill(settings: Settings, count: int) -> None:
    """Have so many running pods, from mock-0000 on."""
    now = datetime.now(UTC)
    store = SqliteStore(settings.state_dir)
    known = set(store.pod_ids())
    with store.transaction() as tx:
        for number in range(count):
            if name(number) in known:
                continue
            container = ContainerConfig(id="main", rootfs="busybox", cmd=Cmd(args=("sleep", "1")))
            tx.add_pod(
                PodRecord(
                    config=PodConfig(
                        id=name(number),
                        hypervisor_type=HypervisorType.MOCK,
                        agent_type=AgentType.NOOP,
                        containers=(container,),
                    ),
                    created=now,
                    started=now,
                    state=State.RUNNING,
                    machine=Machine(
                        uuid=str(number), pid=0, accelerator="mock", vcpus=1, memory=256
                    ),
                    containers=(ContainerRecord(config=container, state=State.RUNNING),),
                )
            )
    store.close()
