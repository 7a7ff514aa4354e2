"""The initrd that finds a pod's image: it inserts drivers, mounts `root=` and starts its `init`.

A distribution's kernel has the drivers of disks and file systems as modules, so it cannot mount a
disk by itself. Parameters of the kernel mean here what they mean to a kernel without an initrd:
`root=`, `rootfstype=`, `rootflags=`, `rw`, `init=`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vctui.image import cpio, initrd, recipe
from vctui.image.modules import Module

_INIT: Final = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
root= type=auto flags= mode=ro init=/sbin/init
for word in $(busybox cat /proc/cmdline); do
    case $word in
    root=*) root=${{word#root=}} ;;
    rootfstype=*) type=${{word#rootfstype=}} ;;
    rootflags=*) flags=,${{word#rootflags=}} ;;
    init=*) init=${{word#init=}} ;;
    ro | rw) mode=$word ;;
    esac
done
{modules}
modprobe -q $type
tries=0
until busybox test -b "$root" || busybox test $tries -ge {tries}; do
    tries=$((tries + 1))
    busybox usleep 10000
done
if mount -t $type -o $mode$flags $root /root; then
    umount /proc /sys
    mount -o move /dev /root/dev
    exec busybox switch_root -c /dev/console /root $init
fi
disks=$(busybox ls /sys/class/block)
echo "vctui: cannot mount root=$root (rootfstype=$type); block devices:" $disks
"""
"""When it ends, the kernel panics, and the machine is gone at once (`panic=-1`)."""

_TRIES: Final = 500
"""Of 10 ms: emulated machines are slow, a root that does not appear is a mistake."""


def tree(release: str, chosen: Iterable[Module], busybox: bytes) -> dict[str, cpio.Node]:
    """Everything in the initrd.

    Args:
        chosen: drivers, file systems, and what they need, without those built into the kernel.
    """
    chosen = tuple(chosen)
    there = [module.name for module in chosen]
    drivers = initrd.insertion(recipe.ROOT_DRIVERS, there)
    script = _INIT.format(modules=drivers, tries=_TRIES)
    applets = ("sh", "mount", "umount")
    return {
        **{folder: cpio.folder() for folder in ("dev", "proc", "root", "sys")},
        **{f"usr/bin/{name}": cpio.link("busybox") for name in applets},
        "usr/sbin/modprobe": cpio.link("../bin/busybox"),
        "usr/bin/busybox": cpio.file(busybox, executable=True),
        **{name: cpio.link(f"usr/{name}") for name in ("bin", "sbin", "lib")},
        "dev/console": cpio.character_device(5, 1),
        "init": cpio.file(script.encode(), executable=True),
        **initrd.kernel_modules(release, chosen),
    }
