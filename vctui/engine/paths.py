"""Where a pod's things lie on the host. The only module that knows the folder names."""

from __future__ import annotations

from pathlib import Path

import msgspec

from vctui.settings import Settings


class PodPaths(msgspec.Struct, frozen=True):
    run: Path
    """Sockets, logs and mounts of one pod; gone when it is deleted."""
    share: Path
    """Exported to the guest."""
    logs: Path
    lock: Path
    netns: Path
    """Stands for the pod's network namespace, where it has one of its own."""
    rootfs: Path
    """Private copies of built-in root file systems; they outlive a stop."""


def pods_root(settings: Settings) -> Path:
    return settings.run_dir / "pods"


def pool_root(settings: Settings) -> Path:
    """Machines that are ready before their pods."""
    return settings.run_dir / "pool"


def pool_exports_root(settings: Settings) -> Path:
    """What these show their guests, for users who cannot mount: a pod's copies lie in it."""
    return settings.state_dir / "pool"


def rootfs_root(settings: Settings) -> Path:
    return settings.state_dir / "rootfs"


def locks_root(settings: Settings) -> Path:
    return settings.run_dir / "locks"


def of_pod(settings: Settings, pod_id: str) -> PodPaths:
    run = pods_root(settings) / pod_id
    return PodPaths(
        run=run,
        share=run / "share",
        logs=run / "logs",
        netns=run / "netns",
        lock=locks_root(settings) / pod_id,
        rootfs=rootfs_root(settings) / pod_id,
    )


def guests_root(settings: Settings) -> Path:
    return settings.state_dir / "guests"


def images_root(settings: Settings) -> Path:
    return settings.state_dir / "images"


def leases_root(settings: Settings) -> Path:
    """Addresses that are taken in the networks that `vctui network init` made."""
    return settings.state_dir / "ipam"
