"""What cold boot is measured against: the same kernel with nothing but a shell as `/init`."""

from __future__ import annotations

from pathlib import Path

from vctui.image import cpio
from vctui.image.manifest import Manifest

MARK = "vctui-bare-init"
"""What `/init` writes to the console when it runs."""


def initrd(guest: Manifest) -> bytes:
    """An initrd with busybox from a built guest and an `/init` that says MARK and ends."""
    busybox = Path(guest.initrd).parent / "rootfs" / "busybox" / "bin" / "busybox"
    tree = {
        "bin/busybox": cpio.file(busybox.read_bytes(), executable=True),
        "bin/sh": cpio.link("busybox"),
        "dev/console": cpio.character_device(5, 1),
        "init": cpio.file(f"#!/bin/sh\necho {MARK}\n".encode(), executable=True),
    }
    return b"".join(cpio.archive(tree))
