"""Real guests that no pod can use: each costs one clear error, and nothing is left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Host
from vctui import settings
from vctui.image import cpio
from vctui.image.current import current_guest

pytestmark = pytest.mark.vm

HEAD = "#!/bin/sh\nexport PATH=/bin\nbusybox mount -t devtmpfs devtmpfs /dev\n"
GUESTS = {
    "gives-up": (
        "echo I cannot go on\nexit 3\n",
        r"ended before its agent answered: the guest kernel panicked: .*Attempted to kill init",
        r"before the panic the console said: .*I cannot go on",
    ),
    "goes": (
        "echo I am going\nbusybox poweroff -f\n",
        r"ended before its agent answered: the guest powered itself off",
        r"the console ended with: .*I am going",
    ),
    "has-no-init": (
        "",
        r"the guest kernel panicked: .*Unable to mount root fs",
        r"an initrd needs an executable /init",
    ),
    "talks": (
        "exec busybox yes I talk and talk\n",
        r"did not answer within 6 s: its guest has not opened the port agent\.channel\.0",
        r"the console (ended with|stayed empty)",
    ),
}


def initrd(path: Path, script: str) -> Path:
    built = Path(current_guest(settings.load()).kernel).parent
    busybox = built / "rootfs" / "busybox" / "bin" / "busybox"
    tree = {
        "bin/busybox": cpio.file(busybox.read_bytes(), executable=True),
        "bin/sh": cpio.link("busybox"),
        "dev/console": cpio.character_device(5, 1),
    }
    if script:
        tree["init"] = cpio.file((HEAD + script).encode(), executable=True)
    path.write_bytes(b"".join(cpio.archive(tree)))
    return path


def test_guests_without_an_agent_are_told_apart(host: Host):
    """All at once, as most of it is waiting."""
    brief = host.file("brief.toml", "[timeouts]\nstart = 6.0\n")
    kernel = current_guest(settings.load()).kernel
    checks = {}
    for name, (script, _, _) in GUESTS.items():
        image = initrd(host.root / f"{name}.img", script)
        host.do("guest", "add", name, "--kernel", kernel, "--initrd", str(image))
        patience = ("--config", brief) if name == "talks" else ()
        checks[name] = host.start(*patience, "guest", "check", name)
    for name, (_, error, note) in GUESTS.items():
        said = checks[name].communicate(timeout=90)[1]
        assert checks[name].returncode == 1, said
        assert re.search(error, said), said
        assert re.search(note, said), said
        assert len(said) < 2000
    assert host.left_over() == []
