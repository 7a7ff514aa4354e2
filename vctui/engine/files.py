"""A container's part of the host: root file system and bind mounts in the pod's share, devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from vctui.drivers.agents.base import ContainerSpec, SharedMount
from vctui.drivers.storage import mounts, rootdisk, rootfs, scratch, share
from vctui.engine import devices, images
from vctui.engine.context import Context
from vctui.errors import GuestNotBuilt
from vctui.image import rootfs as built_in
from vctui.model.checks import check_in_pod
from vctui.model.container import ContainerConfig, Mount
from vctui.model.kinds import HypervisorType
from vctui.model.pod import PodConfig


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


async def prepare(
    ctx: Context,
    pod: PodConfig,
    config: ContainerConfig,
    attached: devices.Attached,
) -> ContainerSpec:
    """Show the container's files in the pod's share. Idempotent."""
    at = ctx.paths(pod.id)
    place = ""
    shared: tuple[SharedMount, ...] = ()
    if pod.hypervisor_type is not HypervisorType.MOCK:
        if attached.root is None:
            place = await rootfs.prepare_rootfs(
                config,
                share=at.share,
                copies=at.rootfs,
                templates=_templates(ctx),
                image=images.lower(ctx, config),
            )
        else:
            share.release(config.id, share=at.share)
        shared = (
            *mounts.prepare_mounts(config, share=at.share),
            *scratch.prepare_empty_dirs(config, share=at.share, copies=at.rootfs),
        )
    return ContainerSpec(
        config=config,
        hostname=pod.hostname or pod.id,
        rootfs=place,
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


def make_share(ctx: Context, pod_id: str) -> None:
    at = ctx.paths(pod_id)
    share.make_share(at.share, at.rootfs)


def release(ctx: Context, pod_id: str, container_id: str) -> None:
    """Take the container's mounts away; its private copies stay. Idempotent."""
    share.release(container_id, share=ctx.paths(pod_id).share)


def forget(ctx: Context, pod_id: str, container_id: str) -> None:
    """Leave nothing of the container. Idempotent."""
    at = ctx.paths(pod_id)
    share.forget(container_id, share=at.share, copies=at.rootfs)


def _templates(ctx: Context) -> Mapping[str, Path]:
    try:
        return {name: built_in.rootfs_template(ctx.settings, name) for name in built_in.NAMES}
    except GuestNotBuilt:
        return {name: ctx.settings.cache_dir / name for name in built_in.NAMES}
