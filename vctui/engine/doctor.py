"""What the product needs on this host, and what it profits from."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from vctui.drivers.hypervisors.qemu import accel, program
from vctui.drivers.networks import catalog
from vctui.drivers.networks.plugins import INSTALL
from vctui.drivers.storage import virtiofs
from vctui.engine.pool import LOG, Pool
from vctui.engine.shelf import Shelf
from vctui.errors import MissingProgram, VctuiError
from vctui.image import current
from vctui.linux import files, mountinfo, probe, taps, vsock
from vctui.model.doctor import Check
from vctui.model.kinds import Accelerator, SharedFs
from vctui.settings import Settings

_ROOM_TO_BUILD: Final = 1024**3
"""Bytes for Debian packages and a guest made of them."""
_ROOM_TO_RUN: Final = 128 * 1024**2
_POD_MEMORY: Final = 512
"""MiB that one small pod with its monitor should find."""
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


async def examine(settings: Settings) -> tuple[Check, ...]:
    """A failed check says in `detail` what is wrong, and there or in `remedy` what to do.

    Looks, and changes nothing but remembered findings (KVM's proof)."""
    return tuple([check async for check in _checks(settings)])


async def _checks(settings: Settings) -> AsyncIterator[Check]:
    yield await _qemu(settings)
    yield await _shared_folders(settings)
    yield await _virtiofsd(settings)
    yield _guest(settings)
    yield await _kvm(settings)
    yield _vsock()
    yield _guest_tools()
    yield _user()
    yield _namespaces()
    yield _cni(settings)
    yield _vhost()
    for name, folder, needed in (
        ("run folder", settings.run_dir, _ROOM_TO_RUN),
        ("state folder", settings.state_dir, _ROOM_TO_RUN),
        ("cache folder", settings.cache_dir, _ROOM_TO_BUILD),
    ):
        yield _folder(name, folder, needed)
    yield _memory()
    yield _templates(settings)
    yield _pool(settings)


async def _examined(settings: Settings) -> program.Program:
    path = program.find(settings.qemu.path)
    files.private_dir(settings.cache_dir)
    return await program.examine(path, state_dir=settings.cache_dir)


async def _qemu(settings: Settings) -> Check:
    try:
        found = await _examined(settings)
    except (VctuiError, OSError) as error:
        return Check(name="QEMU", ok=False, detail=str(error))
    sandboxed = "with its sandbox" if found.sandbox else "built without seccomp: no sandbox"
    return Check(name="QEMU", ok=True, detail=f"{found.version}, {found.path}, {sandboxed}")


async def _shared_folders(settings: Settings) -> Check:
    name = "9p shares"
    try:
        if (await _examined(settings)).nine_p:
            return Check(name=name, ok=True, detail="QEMU has virtio-9p")
    except (VctuiError, OSError):
        return Check(name=name, ok=False, detail="unknown without QEMU", remedy="install QEMU")
    return Check(
        name=name,
        ok=False,
        detail="this QEMU was built without virtio-9p",
        remedy=f"run `{program.INSTALL}`",
    )


async def _virtiofsd(settings: Settings) -> Check:
    name = "virtio-fs"
    ok = None if settings.qemu.shared_fs is SharedFs.NINE_P else False
    try:
        program = await virtiofs.examine(virtiofs.find(settings.qemu.virtiofsd))
        virtiofs.check(program)
    except MissingProgram:
        return Check(
            name=name,
            ok=ok,
            detail="virtiofsd is not installed",
            remedy=f"run {virtiofs.INSTALL}, for pods with shared_fs virtio-fs",
        )
    except VctuiError as error:
        return Check(name=name, ok=ok, detail=str(error))
    detail = f"virtiofsd {program.version}, {program.path}, sandbox {program.sandbox}"
    return Check(name=name, ok=True, detail=detail)


def _guest(settings: Settings) -> Check:
    try:
        guest = current.current_guest(settings)
    except VctuiError as error:
        return Check(name="guest", ok=False, detail=str(error))
    detail = f"{guest.name}, kernel {guest.kernel_release}, needs {guest.min_memory} MiB"
    return Check(name="guest", ok=True, detail=detail)


async def _kvm(settings: Settings) -> Check:
    name = "KVM"
    if settings.qemu.accelerator is not Accelerator.AUTO:
        return Check(
            name=name,
            ok=True,
            detail=f"not looked at: config.toml says {settings.qemu.accelerator}",
        )
    slow = "pods run in emulation (TCG), which works but is slower"
    try:
        path = program.find(settings.qemu.path)
        kernel = Path(current.current_guest(settings).kernel)
        files.private_dir(settings.cache_dir)
        choice = await accel.choose(
            Accelerator.AUTO, program=path, kernel=kernel, state_dir=settings.cache_dir
        )
    except (VctuiError, OSError):
        choice = accel.Choice(name="tcg", reason="not proved, as QEMU or the guest is missing")
    if choice.name == "kvm":
        return Check(name=name, ok=True, detail="proved to work by booting a kernel")
    return Check(name=name, ok=None, detail=choice.reason, remedy=slow)


def _vsock() -> Check:
    """For agents that are reached by vsock; where the kernel cannot, vctui serves the device."""
    if why := vsock.problem():
        return Check(
            name="vsock",
            ok=None,
            detail=f"{why}; pods with a vsock agent are served by vctui itself",
            remedy=f"{vsock.remedy()}, for the host's kernel to do it",
        )
    return Check(name="vsock", ok=True, detail=f"guests get a context id from {vsock.DEVICE}")


def _guest_tools() -> Check:
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        return Check(
            name="guest building",
            ok=None,
            detail=f"{', '.join(missing)} not found",
            remedy="build the guest on Debian or Ubuntu and copy the cache folder",
        )
    return Check(name="guest building", ok=True, detail="apt-get and dpkg-deb are there")


def _user() -> Check:
    if probe.is_root() and probe.can_mount():
        return Check(
            name="permissions", ok=True, detail="root: any folder can be a root file system"
        )
    return Check(
        name="permissions",
        ok=None,
        detail="not root, or root without CAP_SYS_ADMIN: only built-in root file systems",
        remedy="run as root to use folders of the host",
    )


def _namespaces() -> Check:
    if probe.can_use_netns():
        return Check(name="network namespaces", ok=True, detail="can be made")
    return Check(
        name="network namespaces",
        ok=None,
        detail="cannot be made",
        remedy="run as root for pods with networks; pods without run all the same",
    )


def _vhost() -> Check:
    """The kernel's own way for packets, which machines on KVM use."""
    if taps.VHOST.exists():
        detail = f"{taps.VHOST}: the kernel moves the packets of pods on KVM"
        return Check(name="vhost-net", ok=True, detail=detail)
    return Check(
        name="vhost-net",
        ok=None,
        detail=f"no {taps.VHOST}: QEMU moves the packets of pods itself, which works",
        remedy="run `modprobe vhost_net` on a host with KVM for more speed",
    )


def _cni(settings: Settings) -> Check:
    """Plugins, and a network of them, for pods that want one."""
    name, where = "networks", settings.network
    plugins = probe.programs_in(Path(folder) for folder in where.plugin_dirs)
    if not {"bridge", "host-local"} <= set(plugins):
        return Check(
            name=name,
            ok=None,
            detail="no CNI plugins in " + ", ".join(where.plugin_dirs),
            remedy=f"run `{INSTALL}` for pods with networks; pods without run all the same",
        )
    try:
        chosen = catalog.read(Path(where.config_dir)).choose(where.default)
    except VctuiError as error:
        return Check(name=name, ok=None, detail=str(error))
    missing = sorted({*chosen.network.types, *chosen.network.ipam_types} - set(plugins))
    if missing:
        return Check(
            name=name,
            ok=None,
            detail=f"network {chosen.network.name!r} lacks the plugins {', '.join(missing)}",
            remedy=f"run `{INSTALL}`",
        )
    return Check(
        name=name,
        ok=True,
        detail=f"pods join {chosen.network.name!r} by default, {len(plugins)} CNI plugins",
    )


def _folder(name: str, folder: Path, needed: int) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            name=name,
            ok=False,
            detail=f"{there} cannot be written by user {os.geteuid()}",
            remedy="name another in config.toml [paths], or run as root",
        )
    free = files.room(folder)
    detail = f"{folder}, {free // 1024**2} MiB free"
    if free < needed:
        wanted = f"make room: {needed // 1024**2} MiB should be free"
        return Check(
            name=name, ok=None if free > needed // 4 else False, detail=detail, remedy=wanted
        )
    return Check(name=name, ok=True, detail=detail)


def _memory() -> Check:
    total, available = probe.memory_mib()
    detail = f"{available} of {total} MiB available"
    if available < _POD_MEMORY:
        remedy = f"a pod wants about {_POD_MEMORY} MiB; stop something"
        return Check(name="memory", ok=None, detail=detail, remedy=remedy)
    return Check(name="memory", ok=True, detail=detail)


def _templates(settings: Settings) -> Check:
    """Where saved guests are kept, and whether one of the usual size fits there."""
    name, shelf = "templates", Shelf(settings)
    if not settings.template.enabled:
        return Check(name=name, ok=True, detail="switched off: every pod boots")
    where, wanted = shelf.above, settings.pod.memory
    kept = sum(one.memory for one in shelf.templates())
    free = files.room(where) // 1024**2
    detail = f"{kept} of {shelf.limit} MiB in {where}, {free} MiB free"
    remedy = "name a tmpfs with template.memory_dir in config.toml; until then every pod boots"
    if not where.is_dir():
        return Check(name=name, ok=None, detail=f"there is no folder {where}", remedy=remedy)
    if not os.access(where, os.W_OK | os.X_OK):
        detail = f"{where} cannot be written by user {os.geteuid()}"
        return Check(name=name, ok=None, detail=detail, remedy=remedy)
    if wanted > shelf.limit:
        detail += f"; one of the usual size needs {wanted} MiB"
        return Check(name=name, ok=None, detail=detail, remedy="raise template.max_memory")
    if wanted > free + kept:
        detail += f"; one of the usual size needs {wanted} MiB"
        return Check(name=name, ok=None, detail=detail, remedy=f"make room there, or {remedy}")
    mount = mountinfo.holding(where.resolve(), mountinfo.read())
    if mount is not None and mount.type not in _IN_MEMORY:
        detail += f"; that is {mount.type}, not memory"
        remedy = "name a tmpfs with template.memory_dir, as a disk makes templates slow"
        return Check(name=name, ok=None, detail=detail, remedy=remedy)
    return Check(name=name, ok=True, detail=detail)


def _pool(settings: Settings) -> Check:
    name, pool = "ready guests", Pool(settings)
    if not pool.size:
        return Check(name=name, ok=True, detail="none wanted: template.pool is 0")
    ready = len(pool.ready())
    detail = f"{ready} of {pool.size} wait for a pod"
    if ready >= pool.size:
        return Check(name=name, ok=True, detail=detail)
    if said := files.tail(pool.folder / LOG, lines=1):
        detail += f"; the last to make one said: {said[0].decode(errors='replace')[:300]}"
    remedy = "the next pod or console that starts has the others made"
    return Check(name=name, ok=None, detail=detail, remedy=remedy)
