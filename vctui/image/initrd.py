"""The guest's root file system, as the initrd that the kernel unpacks into memory.

What the agent finds when its `main(began)` is called as process 1:

- Everything stands below `/usr`; `/bin`, `/sbin`, `/lib`, `/lib64` are links into it. Programs:
  `crun`, `python3`, `busybox` and those of its applets that `recipe.APPLETS` names.
  `PATH` is `/usr/sbin:/usr/bin`, `HOME` is `/root`.
- Mounted: `/proc`, `/sys`, `/dev` (devtmpfs), `/run` and `/tmp` (tmpfs), `/sys/fs/cgroup`
  (cgroup2), and a moment later `/dev/pts` and `/dev/shm`.
- The root is a bind mount of the kernel's rootfs over itself, so that `pivot_root` works in a new
  mount namespace (it fails on the rootfs itself): crun needs no `--no-pivot`.
- `virtio_pci`, `virtio_mmio` and `virtio_console` are inserted. Ports appear a moment later.
  9p, overlay and the network card are being inserted in the background, at low priority, and
  what is not there yet when it is mounted the kernel loads by itself.
- The standard streams are the serial console. Python runs isolated (`-I -S`): `sys.path` is its
  own library only, where `vctui` stands beside the standard library, all as `.pyc` without sources
  and docstrings; what is not imported at once is in an archive at the end of `sys.path`.
- Address space randomisation is off for process 1 and what it starts: QEMU, where it emulates,
  translates code anew wherever it moves to, and crun starts in 0.09 s instead of 0.17 s.
  A container gets it back by `"personality": {"domain": "LINUX"}` in its `config.json`.
- When process 1 ends, the kernel panics and the machine is gone at once (`panic=-1`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from vctui.image import cpio, elf, modules, recipe, unpacked

_INIT: Final = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin HOME=/root
mount -a
cd /mnt
echo "<7>vctui: modules" >dev/kmsg
{boot_modules}
echo "<7>vctui: python" >dev/kmsg
mount -o move . /
busybox start-stop-daemon -S -b -N 19 -p /none -x /bin/busybox -- chroot . /etc/later &
exec busybox linux64 -R python3 -I -S /{start}
"""
"""Few processes, as each costs 10 ms of emulated time. The shell and `modprobe`, later also when
the kernel calls it, see the rootfs below the bind mount: hence two mounts of `/proc`.
Lines to the kernel's log, which the console does not show, tell later where the time went."""

_LATER: Final = """\
#!/bin/sh
{modules}
busybox mkdir /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm
"""
"""What nobody needs before the agent's first answer, at the lowest priority."""

_FSTAB: Final = """\
/ /mnt none bind 0 0
proc /proc proc nosuid,nodev,noexec 0 0
proc /mnt/proc proc nosuid,nodev,noexec 0 0
sysfs /mnt/sys sysfs nosuid,nodev,noexec 0 0
devtmpfs /mnt/dev devtmpfs nosuid,mode=755 0 0
tmpfs /mnt/run tmpfs nosuid,nodev,mode=755 0 0
tmpfs /mnt/tmp tmpfs nosuid,nodev,mode=1777 0 0
cgroup2 /mnt/sys/fs/cgroup cgroup2 nosuid,nodev,noexec 0 0
"""

_LINKS: Final = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "etc/mtab": "/proc/mounts",
    "var/run": "/run",
}

_FOLDERS: Final = {
    "dev": 0o755,
    "mnt": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
}


def base(modules_there: Collection[str], python: str) -> dict[str, cpio.Node]:
    """Folders, links, configuration and `/init`.

    Args:
        modules_there: names of the modules in the image; others are built into the kernel.
        python: the interpreter's path.
    """
    init = _INIT.format(
        boot_modules=insertion(recipe.BOOT_MODULES, modules_there), start=recipe.START
    )
    later = _LATER.format(modules=insertion(recipe.MODULES, modules_there))
    tree = {path: cpio.folder(mode) for path, mode in _FOLDERS.items()}
    tree |= {path: cpio.link(target) for path, target in _LINKS.items()}
    tree |= {applet: cpio.link("/usr/bin/busybox") for applet in recipe.APPLETS}
    tree |= {
        "dev/console": cpio.character_device(5, 1),
        "dev/null": cpio.character_device(1, 3, 0o666),
        "etc/fstab": _text(_FSTAB),
        "etc/group": _text("root:x:0:\ntty:x:5:\n"),
        "etc/hosts": _text("127.0.0.1 localhost\n::1 localhost\n"),
        "etc/passwd": _text("root:x:0:0:root:/root:/bin/sh\n"),
        "init": cpio.file(init.encode(), executable=True),
        "etc/later": cpio.file(later.encode(), executable=True),
        "usr/bin/python3": cpio.link(posixpath.basename(python)),
    }
    return tree


def insertion(wanted: Iterable[str], there: Collection[str]) -> str:
    """The line of a script that inserts modules."""
    names = [name for name in wanted if name in there]
    return f"modprobe -a {' '.join(names)}" if names else "# no modules: the kernel has them"


def programs(root: Path, names: Iterable[str], linked: Iterable[bytes]) -> dict[str, cpio.Node]:
    """Programs from unpacked packages, and the libraries that they and `linked` files need.

    Raises:
        GuestBuildFailed: a file is in none of the packages.
    """
    tree: dict[str, cpio.Node] = {}
    for name in names:
        tree[name] = cpio.file(unpacked.find_file(root, name).read_bytes(), executable=True)
    pending = [*linked, *(node.data for node in tree.values())]
    if any(elf.needed(data) for data in pending):
        tree[recipe.LOADER] = cpio.file(
            unpacked.find_file(root, recipe.LOADER).read_bytes(), executable=True
        )
    loader = posixpath.basename(recipe.LOADER)
    while pending:
        for library in elf.needed(pending.pop()):
            path = f"{recipe.LIBRARY_FOLDER}/{library}"
            if library != loader and path not in tree:
                tree[path] = cpio.file(unpacked.find_file(root, path).read_bytes())
                pending.append(tree[path].data)
    return tree


def kernel_modules(release: str, chosen: Iterable[modules.Module]) -> dict[str, cpio.Node]:
    """Modules, with what `modprobe` has to know of them."""
    folder = f"usr/lib/modules/{release}"
    chosen = tuple(chosen)
    tree = {f"{folder}/{module.path}": cpio.file(module.data) for module in chosen}
    tree[f"{folder}/modules.dep"] = _text(modules.dependency_file(chosen))
    tree[f"{folder}/modules.alias"] = _text(modules.alias_file(chosen))
    return tree


def _text(content: str) -> cpio.Node:
    return cpio.file(content.encode())
