"""A pod's configuration and the host's settings → the plan its machine is started from."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec

from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.storage import virtiofs, volumes
from vctui.engine.context import Context
from vctui.image import current
from vctui.model import pairing
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import HypervisorType, SharedFs
from vctui.model.pod import PodConfig
from vctui.settings import Settings

_FOREIGN_GUEST_PARAMS = ("console=ttyS0", "panic=1")
_MIB = 1024 * 1024


def defaults(settings: Settings) -> HypervisorConfig:
    """What config.toml gives a pod that says nothing of it."""
    return HypervisorConfig(
        hypervisor_machine_type=settings.qemu.machine_type, shared_fs=settings.qemu.shared_fs
    )


def plan(ctx: Context, config: PodConfig) -> MachinePlan:
    """
    Raises:
        GuestNotBuilt: the pod names no guest of its own and none was built.
        FileProblem: a volume is no folder.
    """
    from vctui.engine import registry

    at = ctx.paths(config.id)
    wanted = config.hypervisor_config
    needs_of = registry.guest_needs(config.agent_type)
    settled = msgspec.structs.replace(config.agent_config, protocol=pairing.agent_protocol(config))
    needs = needs_of(at.run, at.share, settled, debug=wanted.debug)
    kernel = Path(wanted.kernel_path) if wanted.kernel_path else None
    initrd = Path(wanted.initrd_path) if wanted.initrd_path else None
    image = Path(wanted.image_path) if wanted.image_path else None
    parameters: tuple[str, ...] = _FOREIGN_GUEST_PARAMS
    min_memory = _room(initrd)
    if config.hypervisor_type is HypervisorType.QEMU and not (kernel and (initrd or image)):
        guest = current.current_guest(ctx.settings)
        if image is not None:  # the built kernel finds it by an initrd; others have the drivers
            initrd = Path(guest.root_initrd)
            parameters = guest.kernel_params
        elif initrd is None:
            initrd = Path(guest.initrd)
            parameters = guest.kernel_params
            min_memory = guest.min_memory
        kernel = kernel or Path(guest.kernel)
    real = config.hypervisor_type is not HypervisorType.MOCK
    shares = (*needs.shares, *(volumes.check_volumes(config.volumes) if real else ()))
    if real and wanted.shared_fs is SharedFs.VIRTIO_FS:
        shares = virtiofs.sockets(shares, at.run)
    defaults = ctx.settings.pod
    return MachinePlan(
        pod_id=config.id,
        uuid=str(uuid.uuid4()),
        run_dir=at.run,
        config=wanted,
        hypervisor_path=wanted.hypervisor_path or ctx.settings.qemu.path,
        accelerator=ctx.settings.qemu.accelerator,
        kernel=kernel,
        initrd=initrd,
        image=image,
        kernel_params=(*parameters, *needs.kernel_params),
        vcpus=config.vm_config.vcpus or wanted.default_vcpus or defaults.vcpus,
        memory=config.vm_config.memory or wanted.default_mem_sz or defaults.memory,
        min_memory=min_memory,
        ports=needs.ports,
        socket_type=config.agent_config.socket_type,
        shares=shares,
    )


def _room(initrd: Path | None) -> int:
    """MiB without which the machine could not even hold the file."""
    try:
        size = initrd.stat().st_size if initrd else 0
    except OSError:  # it is looked for when the machine starts
        return 0
    return -(-size // _MIB)
