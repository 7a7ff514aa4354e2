"""A real guest for tests: QEMU with the built image, its agent's channel as a socket."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.client import HEALTH, Client
from vctui import settings
from vctui.image import builder
from vctui.image.rootfs import rootfs_template
from vctui.wire.pb import agent_pb2, oci_pb2

SHARED = "/run/kata-containers/shared/containers"
MAC = "02:00:00:00:00:01"
BOOT_TIMEOUT = 120.0


class Machine:
    """A booted guest. `share` is the folder that the guest sees at SHARED."""

    def __init__(self, folder: Path, cache: Path, parameters: str = "") -> None:
        self.folder = folder
        self.share = folder / "share"
        self.share.mkdir()
        chosen = settings.load(overrides={"cache_dir": str(cache)})
        manifest = asyncio.run(builder.build(chosen))
        self._rootfs = rootfs_template(chosen, "busybox")
        append = " ".join([*manifest.kernel_params, "quiet", parameters])
        self.started = time.monotonic()
        log = (folder / "qemu.log").open("wb")
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64",
                *("-M", "q35,accel=tcg", "-cpu", "max", "-m", "256", "-smp", "1"),
                *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
                *("-kernel", manifest.kernel, "-initrd", manifest.initrd, "-append", append),
                *("-chardev", f"file,id=serial,path={folder}/serial.log"),
                *("-serial", "chardev:serial", "-device", "virtio-serial-pci"),
                *("-chardev", f"socket,id=agent,path={folder}/agent.sock,server=on,wait=off"),
                *("-device", "virtserialport,chardev=agent,name=agent.channel.0"),
                *("-chardev", f"file,id=log,path={folder}/agent.log"),
                *("-device", "virtserialport,chardev=log,name=agent.log.0"),
                *("-fsdev", f"local,id=share,path={self.share},security_model=none"),
                *("-device", "virtio-9p-pci,fsdev=share,mount_tag=kataShared"),
                *("-netdev", "hubport,id=net,hubid=0"),
                *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            stdout=log,
        )
        log.close()

    def connect(self) -> Client:
        """A client whose first call was answered; what comes before the port is open is lost."""
        deadline = time.monotonic() + BOOT_TIMEOUT
        while time.monotonic() < deadline:
            self.check()
            client = self._try()
            if client is not None:
                return client
        raise TimeoutError(f"the agent did not answer: {self.console()[-2000:]}")

    def _try(self) -> Client | None:
        try:
            client = Client.connect(self.folder / "agent.sock")
        except OSError:
            time.sleep(0.01)
            return None
        pending = client.start("Check", b"", service=HEALTH)
        client.receive(wait=0.2)
        if pending.answered:
            return client
        client.close()
        return None

    def check(self) -> None:
        if self.process.poll() is not None:
            said = (self.folder / "qemu.log").read_text()
            raise RuntimeError(f"QEMU ended: {said} {self.console()[-2000:]}")

    def console(self) -> str:
        return (self.folder / "serial.log").read_text(errors="replace")

    def log(self) -> str:
        return (self.folder / "agent.log").read_text(errors="replace")

    def rootfs(self, container_id: str) -> Path:
        """A fresh root file system for a container."""
        target = self.share / container_id / "rootfs"
        shutil.copytree(self._rootfs, target, symlinks=True)
        return target

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def booted(cache: Path, parameters: str = "") -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="vctui-guest-") as name:
        machine = Machine(Path(name), cache, parameters)
        try:
            yield machine
        finally:
            machine.kill()


def create_sandbox(client: Client, **more: object) -> None:
    storage = agent_pb2.Storage(
        driver="9p",
        source="kataShared",
        fstype="9p",
        mount_point=f"{SHARED}/",
        options=["trans=virtio", "version=9p2000.L", "msize=262144", "nodev"],
    )
    request = agent_pb2.CreateSandboxRequest(
        hostname="pod-1", sandbox_id="pod-1", storages=[storage], **more
    )
    client.call("CreateSandbox", request)


def spec(container_id: str, *args: str, **process: object) -> oci_pb2.Spec:
    """What a host sends for a container; `process` sets fields of its process."""
    process.setdefault("Env", ["PATH=/bin:/usr/bin:/sbin:/usr/sbin", "TERM=xterm"])
    process.setdefault("Cwd", "/")
    mount = oci_pb2.Mount
    return oci_pb2.Spec(
        Version="1.0.2",
        process=oci_pb2.Process(Args=args, **process),
        root=oci_pb2.Root(Path=f"{SHARED}/{container_id}/rootfs"),
        Hostname="pod-1",
        Mounts=[
            mount(destination="/proc", type="proc", source="proc"),
            mount(destination="/dev", type="tmpfs", source="tmpfs", options=["nosuid", "mode=755"]),
            mount(
                destination="/dev/pts",
                type="devpts",
                source="devpts",
                options=["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount(destination="/sys", type="sysfs", source="sysfs", options=["ro", "nosuid"]),
        ],
        linux=oci_pb2.Linux(
            Namespaces=[
                oci_pb2.LinuxNamespace(Type=kind) for kind in ("pid", "ipc", "uts", "mount")
            ],
            Resources=oci_pb2.LinuxResources(
                Devices=[oci_pb2.LinuxDeviceCgroup(Allow=False, Access="rwm")]
            ),
            MaskedPaths=["/proc/kcore"],
            ReadonlyPaths=["/proc/sys"],
        ),
    )
