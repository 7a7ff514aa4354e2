"""Built-in root file systems for containers, by name: `rootfs = "busybox"`.

Each is a folder in the guest's cache that is copied for every container.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vctui.errors import FileProblem, GuestNotBuilt
from vctui.image import current
from vctui.settings import Settings

NAMES: Final = ("busybox",)

_TEXTS: Final = {
    "etc/group": "root:x:0:\ndaemon:x:1:\nusers:x:100:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        "daemon:x:1:1:daemon:/:/bin/false\n"
        "user:x:1000:100:user:/home/user:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/bin/false\n"
    ),
    "etc/profile": "export PS1='\\u@\\h:\\w\\$ '\n",
}

_FOLDERS: Final = {
    "dev": 0o755,
    "home/user": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
    "usr": 0o755,
    "var/log": 0o755,
}


def rootfs_template(settings: Settings, name: str) -> Path:
    """The folder of a built-in root file system. Copy it; it is shared.

    Raises:
        FileProblem: there is none of that name.
        GuestNotBuilt: it comes with the guest, which is not built.
    """
    if name not in NAMES:
        raise FileProblem(
            f"there is no built-in root file system {name!r}; "
            f"use {' or '.join(NAMES)}, or the path of a folder"
        )
    folder = current.folder(settings) / "rootfs" / name
    if not folder.is_dir():
        raise GuestNotBuilt(
            f"the root file system {name!r} is missing in the built guest; "
            "run: vctui guest build --force"
        )
    return folder


def make_busybox(target: Path, busybox: bytes, applets: Iterable[str]) -> None:
    """Fill a new folder: busybox, a link for each applet, and what programs expect of a root.

    The links are one symbolic link with many names: the folder is copied for each container, and
    270 of them would take eight times as long, more than all else in it.

    Raises:
        OSError
    """
    for path, mode in _FOLDERS.items():
        (target / path).mkdir(parents=True, exist_ok=True)
        (target / path).chmod(mode)
    for path, text in _TEXTS.items():
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
        (target / path).chmod(0o644)
    folder = target / "bin"
    folder.mkdir()
    program = folder / "busybox"
    program.write_bytes(busybox)
    program.chmod(0o755)
    link: Path | None = None
    for applet in applets:
        if not applet or "/" in applet or applet == program.name:
            continue
        if link is None:
            link = folder / applet
            link.symlink_to(program.name)
        else:
            os.link(link, folder / applet, follow_symlinks=False)
    for each in (target, folder, target / "etc", target / "home", target / "var"):
        each.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(target / "home/user", 1000, 100)
