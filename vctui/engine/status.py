"""Records of the store → statuses of the API. Pure."""

from __future__ import annotations

from vctui.errors import NotFound
from vctui.model import pairing
from vctui.model.container import ContainerRecord, ContainerStatus
from vctui.model.pod import PodRecord, PodStatus
from vctui.model.state import LIVE


def container_status(pod_id: str, record: ContainerRecord) -> ContainerStatus:
    process = record.process
    return ContainerStatus(
        id=record.id,
        state=record.state,
        pid=process.pid if process else 0,
        start_time=process.start_time if process else None,
        rootfs=record.config.rootfs,
        annotations=record.config.annotations,
        pod_id=pod_id,
        args=record.config.cmd.args,
        terminal=record.config.cmd.interactive,
        exit_code=record.exit_code,
        reason=record.reason,
        finished_time=record.finished,
        image=record.config.image,
        devices=tuple(one for one in record.devices if one.hotplugged),
        mounts=record.mounts if record.state in LIVE else record.config.mounts,
    )


def pod_status(record: PodRecord) -> PodStatus:
    config = record.config
    return PodStatus(
        id=record.id,
        state=record.state,
        hypervisor=config.hypervisor_type,
        hypervisor_config=config.hypervisor_config,
        agent=config.agent_type,
        agent_config=config.agent_config,
        proxy=pairing.proxy_type(config),
        proxy_config=config.proxy_config,
        shim=pairing.shim_type(config),
        shim_config=config.shim_config,
        containers_status=tuple(
            container_status(record.id, container) for container in record.containers
        ),
        annotations=config.annotations,
        hostname=config.hostname or record.id,
        vm_config=config.vm_config,
        reason=record.reason,
        operation=record.operation,
        created_time=record.created,
        start_time=record.started,
        machine=record.machine,
        guest=config.guest,
        monitor_pid=record.monitor_pid,
        network=record.network,
    )


def find(record: PodRecord, container_id: str) -> ContainerRecord:
    for one in record.containers:
        if one.id == container_id:
            return one
    raise NotFound(
        f"pod {record.id!r} has no container {container_id!r}; list its containers to see the ids"
    )
