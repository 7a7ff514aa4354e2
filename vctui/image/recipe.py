"""What goes into a guest: packages, programs, kernel modules, Python modules. Pure data.

Only x86-64 Debian and Ubuntu, releases with Python 3.11 or later.
"""

from __future__ import annotations

import re
from typing import Final

NAME: Final = "debian"
"""Of the one recipe there is."""

MACHINE: Final = "x86_64"
LIBRARY_FOLDER: Final = "usr/lib/x86_64-linux-gnu"
LOADER: Final = "usr/lib64/ld-linux-x86-64.so.2"

KERNEL_METAPACKAGES: Final = ("linux-image-amd64", "linux-image-generic")
"""The first that apt knows names the kernel: Debian's and Ubuntu's. Debian's `cloud` flavour has
no 9p."""

KERNEL_PACKAGE: Final = re.compile(r"linux-(image|modules)(-extra)?-\d.*")
"""Packages behind the metapackage that hold the kernel and its modules."""

PYTHON_METAPACKAGE: Final = "python3-minimal"
PYTHON_PACKAGE: Final = re.compile(r"python(3\.\d+)-minimal")

PROGRAM_PACKAGES: Final = ("busybox-static", "crun")

LIBRARY_PACKAGE: Final = re.compile(r"lib.+|zlib1g")
"""Of a package's dependencies only libraries can be linked with."""


def python_packages(version: str) -> tuple[str, ...]:
    """The packages of a Python version (`3.11`) whose dependencies are all followed."""
    return (f"python{version}-minimal", f"libpython{version}-minimal")


def python_library_package(version: str) -> str:
    """The rest of the standard library; what it depends on is for parts that nobody imports."""
    return f"libpython{version}-stdlib"


PYTHON_MODULE_PACKAGES: Final = ("python3-h2", "python3-hpack", "python3-hyperframe")
"""Modules beside Python's own: HTTP/2 for the agent's gRPC face, never loaded by the other."""

PYTHON_MODULE_FOLDER: Final = "usr/lib/python3/dist-packages"


PROGRAMS: Final = ("usr/bin/busybox", "usr/bin/crun")

APPLETS: Final = (
    *("usr/sbin/modprobe", "usr/sbin/ip", "usr/sbin/poweroff"),
    *("usr/bin/sh", "usr/bin/mount", "usr/bin/umount", "usr/bin/ps", "usr/bin/kill"),
    *("usr/bin/ls", "usr/bin/cat", "usr/bin/dmesg", "usr/bin/lsmod", "usr/bin/free"),
)
"""Programs that busybox stands for: what boots the guest, and what one looks for in its debug
console. The others are there as `busybox NAME`."""

BOOT_MODULES: Final = ("virtio_pci", "virtio_mmio", "virtio_console")
"""What the agent's channel needs: inserted first."""

MODULES: Final = ("9p", "9pnet_virtio", "overlay", "virtio_rng", "virtio_net")
"""What a pod needs a moment later: inserted at the lowest priority. Each megabyte in the image
costs 13 ms of emulated boot, so what no pod uses is not there."""

ROOT_DRIVERS: Final = ("virtio_pci", "virtio_mmio", "virtio_blk", "nfit", "nd_pmem")
"""What finds a disk or an NVDIMM with a root file system: in an initrd of their own."""

ROOT_FILE_SYSTEMS: Final = ("ext4", "xfs", "squashfs", "erofs")
"""Which such a root may have, and a container's."""

ON_DEMAND_MODULES: Final = (
    *("virtio_blk", "virtio_scsi", "sd_mod", "virtiofs", *ROOT_FILE_SYSTEMS),
    "vmw_vsock_virtio_transport",
)
"""Inserted for a pod that needs them, so they are compressed: space costs every boot."""

ENTRY: Final = "vctui.guest.__main__"
"""The module whose `main()` is run as process 1."""

START: Final = "usr/lib/vctui/start.pyc"
"""What Python is started with: it enters the prepared root and calls the agent."""

LATER_MODULES: Final = "usr/lib/vctui/later.zip"
"""Python modules that the agent does not need to start."""

EXTRA_PYTHON_MODULES: Final = (
    "encodings.ascii",
    "encodings.latin_1",
    "linecache",
    "signal",
    "traceback",
)
"""What no `import` of ours names, but an interpreter looks for at run time."""

KERNEL_PARAMS: Final = (
    "console=ttyS0",
    "panic=-1",  # a dead agent ends the machine at once
    "tsc=reliable",  # these two: no calibration against timers that are emulated anyway
    "no_timer_check",
    "cryptomgr.notests",  # with those two 0.3 s of 2.0 s
    "lsm=landlock,yama",  # those that have no policy here look at each file and decide nothing
    "random.trust_cpu=on",  # random numbers at once, without a virtio-rng
)

MIN_MEMORY_MIB: Final = 128
"""Measured: 112 do not boot; 128 leave 35 to three containers."""
