"""A control group for the first container of a saved guest, made before the guest is saved.

What keeps devices from a container is a program of the kernel, which crun writes and the kernel
verifies, compiles and attaches to the container's group. So crun makes the group beforehand, for a
container that does nothing, and is not asked to remove that container: its group would go as well.
"""

from __future__ import annotations

import os

from vctui.errors import AgentError
from vctui.guest import plainfile
from vctui.guest.cgroup import Cgroup
from vctui.guest.document import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.crun import Crun

_NAME = "_first"
"""No container has such an id (sandbox.check_id)."""


class FirstGroup:
    def __init__(self, group: Cgroup, devices: list[dict[str, Any]]) -> None:
        """
        Args:
            devices: the rules that hold in it (OCI: linux.resources.devices).
        """
        self._group = group
        self._devices = devices
        self._taken = False

    @property
    def is_idle(self) -> bool:
        return not self._group.pids()

    def take(self, document: dict[str, Any]) -> Cgroup | None:
        """Change a container's document to be of this group; None where it wants other rules, or
        where another container has the group."""
        linux = document["linux"]
        if self._taken or linux.get("resources", {}).get("devices") != self._devices:
            return None
        self._taken = True
        linux["cgroupsPath"] = self._group.name
        del linux["resources"]["devices"]
        return self._group


async def make(
    crun: Crun, children: Children, config: Config, devices: list[dict[str, Any]]
) -> FirstGroup:
    """
    Raises:
        AgentError: crun does not make it.
        OSError: there is no room for what crun is to read.
    """
    group = Cgroup(config.cgroup, _NAME)
    folder = f"{config.run}/group"
    os.makedirs(f"{folder}/rootfs", mode=0o700)
    document = {
        "ociVersion": "1.0.2",
        "process": {"args": ["/busybox", "true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/busybox", "source": config.busybox, "options": ["bind", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "mount"}],
            "cgroupsPath": group.name,
            "resources": {"devices": devices},
        },
    }
    plainfile.replace(f"{folder}/config.json", dumps(document).encode())
    run = crun.run_command(folder)
    if said := await crun.call("--root", f"{folder}/crun", *run, _NAME):
        raise AgentError(f"crun does not make a control group: {said}")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        words = ["busybox", "rm", "-r", folder]
        await children.spawn(config.busybox, words, {}, dict.fromkeys(range(3), null))[1]
    finally:
        os.close(null)
    return FirstGroup(group, devices)
