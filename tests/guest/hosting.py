"""A guest of ours as a host: tests run in it as root, on a kernel with what this machine's lacks.

The machine has a guest's kernel, modules of the package that the kernel came with, and this
machine's root file system, read-only over 9p: the same Python runs the same tests there.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vctui import settings
from vctui.image import builder, cpio, initrd, unpacked
from vctui.image.manifest import Manifest
from vctui.image.modules import Module

BOOT: Final = ("virtio_pci", "9p", "9pnet_virtio", "tun")
"""What the machine itself needs, and taps."""
_FOLDERS: Final = re.compile(
    r"/kernel/(drivers/virtio|drivers/net(/ipvlan|/ethernet/intel/e1000e)?|drivers/vfio(/pci)?"
    r"|drivers/vhost|virt/lib|fs/(9p|netfs|fscache)|net/(9p|802|bridge|llc|sched|vmw_vsock))"
    r"/[^/]+\.ko[^/]*$"
    r"|/modules\.builtin$"
)
"""Where those modules are, and those that they need."""
_APPLETS: Final = ("sh", "mount", "env")
_ENVIRONMENT: Final = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_PROJECT: Final = Path(__file__).parents[2]
_RESULT: Final = re.compile(r"^([A-Z]+) (\S+::\S+)$", re.MULTILINE)
_END: Final = "vctui-tests-ended"

_INIT: Final = """\
#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
{insert}
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 host /host
mount -o move /dev /host/dev
mount -t proc proc /host/proc
mount -t sysfs sysfs /host/sys
mount -t tmpfs tmpfs /host/run
exec env -i {environment} /bin/busybox chroot /host /bin/sh -c {tests}
"""

_TESTS: Final = """\
cd {project}
printf '[pytest]\\nmarkers =\\n    root\\n    vm\\nfilterwarnings = error\\n' >/run/pytest.ini
{pytest} && echo {end}
"""

_PYTEST: Final = (
    *(sys.executable, "-m", "pytest", "-c", "/run/pytest.ini", "--rootdir", str(_PROJECT)),
    *("--noconftest", "--import-mode=importlib", "--assert=plain", "-p", "no:cacheprovider"),
    *("-qrA", "--color=no"),
)
"""Without the plug-ins and settings of the project, which take seconds to load."""


def run_tests(
    cache: Path,
    modules: Sequence[str],
    *words: str,
    timeout: float,
    hardware: Sequence[str] = (),
    parameters: Sequence[str] = (),
) -> dict[str, str]:
    """What became of each test (`PASSED`, `SKIPPED`…), by its id.

    Args:
        modules: of the guest's kernel that the tests need.
        hardware: QEMU's arguments for what the machine has besides.
        parameters: of the kernel.
        words: for pytest: tests.

    Raises:
        AssertionError: one failed, or the machine did; with its console.
        subprocess.TimeoutExpired: that takes too long. The machine is killed then.
    """
    chosen = settings.load(overrides={"cache_dir": str(cache)})
    manifest = asyncio.run(builder.build(chosen))
    with tempfile.TemporaryDirectory(prefix="vctui-host-") as name:
        folder = Path(name)
        known = _modules(cache / "debs", manifest, folder, (*BOOT, *modules))
        image = folder / "initrd"
        image.write_bytes(_initrd(manifest, known, words))
        subprocess.run(
            [
                *("qemu-system-x86_64", "-M", "q35,accel=tcg", "-cpu", "max", "-m", "512"),
                *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
                *("-kernel", manifest.kernel, "-initrd", str(image)),
                *("-append", " ".join([*manifest.kernel_params, "quiet", *parameters])),
                *hardware,
                *("-chardev", f"file,id=serial,path={folder}/console", "-serial", "chardev:serial"),
                *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
                *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
                *("-nic", "none"),
            ],
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=True,
        )
        console = (folder / "console").read_text(errors="replace").replace("\r", "")
    assert _END in console, console
    return {test: outcome for outcome, test in _RESULT.findall(console)}


def _initrd(manifest: Manifest, known: Sequence[Module], words: Sequence[str]) -> bytes:
    busybox = Path(manifest.initrd).parent / "rootfs" / "busybox" / "bin" / "busybox"
    there = [module.name for module in known]
    environment = {"PATH": os.environ["PATH"], "HOME": "/run", "TMPDIR": "/run", **_ENVIRONMENT}
    tests = _TESTS.format(
        project=shlex.quote(str(_PROJECT)), pytest=shlex.join((*_PYTEST, *words)), end=_END
    )
    script = _INIT.format(
        insert=initrd.insertion(there, there),
        environment=shlex.join(f"{key}={value}" for key, value in environment.items()),
        tests=shlex.quote(tests),
    )
    tree = {
        **{name: cpio.folder() for name in ("dev", "host", "proc", "sbin")},
        "bin/busybox": cpio.file(busybox.read_bytes(), executable=True),
        **{f"bin/{name}": cpio.link("busybox") for name in _APPLETS},
        "sbin/modprobe": cpio.link("../bin/busybox"),
        "lib": cpio.link("usr/lib"),
        "dev/console": cpio.character_device(5, 1),
        "init": cpio.file(script.encode(), executable=True),
        **initrd.kernel_modules(manifest.kernel_release, known),
    }
    return b"".join(cpio.archive(tree))


def _modules(
    debs: Path, manifest: Manifest, folder: Path, wanted: Sequence[str]
) -> tuple[Module, ...]:
    """Modules of the guest's kernel that the guest itself does not have, from their package."""
    release = manifest.kernel_release
    for package in sorted(debs.glob(f"linux-*-{release}_*.deb")):
        with (
            subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
            ) as unpacking,
            tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if _FOLDERS.search(member.name):
                    archive.extract(member, folder, filter="data")
    there = next(folder.glob(f"**/lib/modules/{release}"))
    source = unpacked.KernelSource(Path(manifest.kernel), there)
    return asyncio.run(unpacked.kernel_modules(source, wanted))
