"""A built guest boots, in as little memory as its manifest says, into what the agent expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import bare
from tests.image.booting import boot
from vctui.image import builder
from vctui.settings import Settings

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


async def test_the_agent_comes_up_in_the_least_memory(
    shared_settings: Settings, sockets: Path
) -> None:
    guest = await builder.build(shared_settings)
    kernel, initrd = Path(guest.kernel), Path(guest.initrd)
    memory = guest.min_memory
    async with boot(sockets, kernel, initrd, *guest.kernel_params, memory=memory) as machine:
        await machine.port_opens()
        assert b"Linux version" in machine.console
        assert b"Run /init" in machine.console
        assert b"not found" not in machine.console


async def test_the_bare_initrd_runs(shared_settings: Settings, sockets: Path) -> None:
    guest = await builder.build(shared_settings)
    initrd = sockets / "initrd"
    initrd.write_bytes(bare.initrd(guest))
    async with boot(sockets, Path(guest.kernel), initrd, *guest.kernel_params) as machine:
        await machine.console_says(bare.MARK)


_CHECKS = """
busybox grep -q ' /mnt/share 9p ' /proc/mounts && echo 9p-by-itself
modprobe overlay && busybox grep -q overlay /proc/filesystems && echo overlay-is-there
busybox unshare -m sh -c 'mount -t tmpfs new /mnt && cd /mnt && busybox mkdir old && \
busybox pivot_root . old && echo root-can-"pivot"'
until busybox grep -q ' /dev/shm ' /proc/mounts; do busybox usleep 10000; done
for each in /proc /sys /dev /dev/pts /dev/shm /run /tmp /sys/fs/cgroup; do
busybox grep -q " $each " /proc/mounts || echo missing: $each; done
busybox readlink -f /bin/sh; crun --version; busybox cat /proc/1/personality
"""


async def test_the_guest_is_what_the_agent_was_promised(
    shared_settings: Settings, sockets: Path
) -> None:
    guest = await builder.build(shared_settings)
    parameters = (*guest.kernel_params, "quiet", "agent.debug_console")
    async with boot(sockets, Path(guest.kernel), Path(guest.initrd), *parameters) as machine:
        await machine.console_says("/ #")
        machine.type("busybox stty -echo; busybox mkdir /mnt/share; echo READY$((1+1))")
        await machine.console_says("READY2")
        machine.type("mount -t 9p -o trans=virtio,version=9p2000.L kataShared /mnt/share")
        for line in _CHECKS.replace("\\\n", "").strip().splitlines():
            machine.type(line)
        machine.type("echo DONE$((1+1))")
        await machine.console_says("DONE2")
        said = machine.console.decode(errors="replace")
    for expected in (
        "9p-by-itself",
        "overlay-is-there",
        "root-can-pivot",
        "/usr/bin/busybox",
        "crun version",
        "00040000",
    ):
        assert expected in said
    assert "missing:" not in said
