"""A container's part of the host: root file system and bind mounts in the pod's share, devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from vctui.drivers.agents.base import ContainerSpec, SharedMount
from vctui.drivers.storage import mounts, rootdisk, rootfs, scratch, share
from vctui.engine import devices, images
from vctui.engine.context import Context
from vctui.errors import GuestNotBuilt
from vctui.image import rootfs as built_in
from vctui.linux.problems import host_problem
from vctui.model.checks import check_in_pod
from vctui.model.container import ContainerConfig, Mount
from vctui.model.kinds import HypervisorType, SharedFs
from vctui.model.network import Dns
from vctui.model.pod import PodConfig
from vctui.telemetry.trace import span
from vctui.wire import resolver

RESOLVER: Final = ".pod/resolv.conf"
"""In the pod's share; no container is called so."""
_RESOLV_CONF: Final = "/etc/resolv.conf"


def check(ctx: Context, pod: PodConfig, config: ContainerConfig) -> None:
    """Look for what can be wrong before anything is made. Raises FileProblem and others.

    A mock machine shows no files to anybody, so it needs none.
    """
    check_in_pod(pod, config)
    if pod.hypervisor_type is not HypervisorType.MOCK:
        if rootdisk.find(config, pod.hypervisor_config) is None:
            rootfs.check_rootfs(config, _templates(ctx), images.lower(ctx, config))
        mounts.check_mounts(config)
        devices.check(config)


async def copy_ahead(ctx: Context, pod: PodConfig, containers: Sequence[ContainerConfig]) -> None:
    """Make the copies of built-in root file systems that `prepare` would make. Idempotent."""
    if pod.hypervisor_type is HypervisorType.MOCK:
        return
    with span("copy root file systems"):
        for one in containers:
            if rootdisk.find(one, pod.hypervisor_config) is None:
                await rootfs.copy_ahead(
                    one, copies=ctx.paths(pod.id).rootfs, templates=_templates(ctx)
                )


async def prepare(
    ctx: Context,
    pod: PodConfig,
    config: ContainerConfig,
    attached: devices.Attached,
) -> ContainerSpec:
    """Show the container's files in the pod's share. Idempotent."""
    at = ctx.paths(pod.id)
    rootfs_place = ""
    shared: tuple[SharedMount, ...] = ()
    if pod.hypervisor_type is not HypervisorType.MOCK:
        place = share.new_place(config.id, share=at.share)
        if attached.root is None:
            rootfs_place = await rootfs.prepare_rootfs(
                config,
                share=at.share,
                place=place,
                copies=at.rootfs,
                templates=_templates(ctx),
                image=images.lower(ctx, config),
            )
        shared = (
            *mounts.prepare_mounts(config, share=at.share, place=place),
            *scratch.prepare_empty_dirs(config, share=at.share, place=place, copies=at.rootfs),
        )
    if own_resolver := _resolver(ctx, pod, config):
        shared = (*shared, own_resolver)
        config = msgspec.structs.replace(config, mounts=(*config.mounts, own_resolver.mount))
    return ContainerSpec(
        config=config,
        hostname=pod.hostname or pod.id,
        rootfs=rootfs_place,
        mounts=shared,
        devices=attached.devices,
        disk=attached.root,
    )


def placed(
    ctx: Context, pod: PodConfig, config: ContainerConfig, spec: ContainerSpec
) -> tuple[Mount, ...]:
    """The container's mounts with their places on the host; a tmpfs has none."""
    share = ctx.paths(pod.id).share
    shown = {one.mount: str(share / one.shared) for one in spec.mounts}
    volumes = {one.mount_tag: one.host_path for one in pod.volumes}
    return tuple(
        msgspec.structs.replace(
            one,
            host_path=volumes[one.source] if one.type == "volume" else shown.get(one, ""),
        )
        for one in config.mounts
    )


def make_share(ctx: Context, pod: PodConfig) -> None:
    at = ctx.paths(pod.id)
    virtio_fs = pod.hypervisor_config.shared_fs is SharedFs.VIRTIO_FS
    share.make_share(at.share, at.rootfs, propagates=virtio_fs)


def write_resolver(ctx: Context, pod_id: str, dns: Dns) -> None:
    """Give the pod a resolv.conf that its containers have; none where no servers are known.

    The guest may write there too: before the machine starts nobody else does.
    """
    if not dns.nameservers:
        return
    place = ctx.paths(pod_id).share / RESOLVER
    try:
        place.parent.mkdir(exist_ok=True)
        place.parent.chmod(0o755)
        place.write_text("".join(f"{line}\n" for line in resolver.lines(dns)), encoding="utf-8")
        place.chmod(0o644)
    except OSError as error:
        raise host_problem(error, f"write {place}") from error


def release(ctx: Context, pod_id: str, container_id: str) -> None:
    """Take the container's mounts away; its private copies stay. Idempotent."""
    share.release(container_id, share=ctx.paths(pod_id).share)


def forget(ctx: Context, pod_id: str, container_id: str) -> None:
    """Leave nothing of the container. Idempotent."""
    at = ctx.paths(pod_id)
    share.forget(container_id, share=at.share, copies=at.rootfs)


def _resolver(ctx: Context, pod: PodConfig, config: ContainerConfig) -> SharedMount | None:
    """The pod's resolv.conf, for a container that has none mounted itself."""
    network = ctx.store.pod(pod.id).network
    own = {mount.destination.rstrip("/") for mount in config.mounts}
    if network is None or not network.dns.nameservers or own & {"/etc", _RESOLV_CONF}:
        return None
    mount = Mount(source=RESOLVER, destination=_RESOLV_CONF)
    return SharedMount(mount=mount, shared=RESOLVER)


def _templates(ctx: Context) -> Mapping[str, Path]:
    try:
        return {name: built_in.rootfs_template(ctx.settings, name) for name in built_in.NAMES}
    except GuestNotBuilt:
        return {name: ctx.settings.cache_dir / name for name in built_in.NAMES}
