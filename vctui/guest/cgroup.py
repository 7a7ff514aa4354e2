"""A container's control group (version 2), used directly: reading, freezing, killing, limits."""

from __future__ import annotations

import os

from vctui.guest import plainfile
from vctui.guest.loop import PRIORITY, Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vctui.guest.loop import Loop
    from vctui.wire.pb import oci_pb2 as oci

PARENT = "/vctui"
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
"""That crun hands down to containers."""
_MAX_GROUPS = 1000
"""Groups below a container's that are looked at; a container may make its own."""


class Cgroup:
    def __init__(self, root: str, container_id: str) -> None:
        self.name = f"{PARENT}/{container_id}"
        """Its path in the hierarchy, as crun is told."""
        self.path = root + self.name

    def pids(self) -> list[int]:
        """The processes in it and in the groups below it."""
        found = []
        for folder in self._folders():
            found += [int(pid) for pid in _read(f"{folder}/cgroup.procs").split()]
        return found

    def kill(self) -> None:
        """SIGKILL for every process, frozen ones too, whatever they fork meanwhile."""
        self._write("cgroup.kill", "1")

    async def freeze(self, loop: Loop, *, frozen: bool) -> None:
        """Stop or continue every process; returns when they have.

        Raises:
            OSError: the group is gone.
        """
        self._write("cgroup.freeze", "1" if frozen else "0")
        wanted = "1" if frozen else "0"
        fd = os.open(f"{self.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            changed = Future()
            loop.watch(fd, PRIORITY, lambda _events: changed.succeed())
            while table(os.pread(fd, 4096, 0).decode()).get("frozen", wanted) != wanted:
                await changed
                changed = Future()
        finally:
            loop.unwatch(fd)
            os.close(fd)

    def thaw(self) -> None:
        """Let every process go on, without waiting for it."""
        self._write("cgroup.freeze", "0")

    def watch_memory(self, loop: Loop, out_of_memory: Callable[[], None]) -> Callable[[], None]:
        """Call `out_of_memory` when the kernel has killed for want of memory in the group.

        Gives what ends the watch and looks a last time.
        """
        fd = os.open(f"{self.path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        killed = 0

        def look(_events: int = 0) -> None:
            nonlocal killed
            try:
                now = number(table(os.pread(fd, 4096, 0).decode()).get("oom_kill", ""))
            except OSError:  # the group is gone
                return
            if now > killed:
                killed = now
                out_of_memory()

        def end() -> None:
            nonlocal fd
            if fd >= 0:
                loop.unwatch(fd)
                look()
                os.close(fd)
                fd = -1

        loop.watch(fd, PRIORITY, look)
        return end

    def update(self, resources: oci.LinuxResources) -> None:
        """Set the limits that `resources` asks for; zeros leave as it is.

        Raises:
            OSError: the kernel refuses a value.
        """
        for name, value in limits(resources):
            self._write(name, value)

    def read(self, name: str) -> str:
        """The text of a control file, "" where the kernel has none."""
        return _read(f"{self.path}/{name}")

    def _write(self, name: str, value: str) -> None:
        plainfile.write(f"{self.path}/{name}", value.encode())

    def _folders(self) -> Iterator[str]:
        waiting = [self.path]
        for _ in range(_MAX_GROUPS):
            if not waiting:
                return
            folder = waiting.pop()
            yield folder
            try:
                with os.scandir(folder) as entries:
                    waiting += [each.path for each in entries if each.is_dir(follow_symlinks=False)]
            except OSError:
                continue


def prepare(root: str) -> None:
    """Make the parent of the containers' groups, with all controllers for them, as crun does with
    the first container: the kernel rewrites its own code for the first group of some.

    Raises:
        OSError: the kernel refuses.
    """
    os.makedirs(root + PARENT, exist_ok=True)
    there = _read(f"{root}/cgroup.controllers").split()
    wanted = " ".join(f"+{name}" for name in _CONTROLLERS if name in there)
    for folder in (root, root + PARENT):
        plainfile.write(f"{folder}/cgroup.subtree_control", wanted.encode())


def limits(resources: oci.LinuxResources) -> list[tuple[str, str]]:
    """Pure: OCI resources → control files and their values (as crun and runc convert them)."""
    memory, cpu = resources.Memory, resources.CPU
    found = []
    if memory.Limit:
        found.append(("memory.max", _or_max(memory.Limit)))
    if memory.Reservation:
        found.append(("memory.low", _or_max(memory.Reservation)))
    if memory.Swap:
        swap_only = memory.Swap - memory.Limit if memory.Swap > 0 else -1
        found.append(("memory.swap.max", _or_max(swap_only)))
    if cpu.Shares:
        found.append(("cpu.weight", str(1 + (max(cpu.Shares, 2) - 2) * 9999 // 262142)))
    if cpu.Quota or cpu.Period:
        found.append(("cpu.max", f"{_or_max(cpu.Quota or -1)} {cpu.Period or 100000}"))
    if cpu.Cpus:
        found.append(("cpuset.cpus", cpu.Cpus))
    if cpu.Mems:
        found.append(("cpuset.mems", cpu.Mems))
    if resources.Pids.Limit:
        found.append(("pids.max", _or_max(resources.Pids.Limit)))
    return found


def table(text: str) -> dict[str, str]:
    """Pure: lines of a key and a value."""
    rows = (line.split(None, 1) for line in text.splitlines())
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def number(text: str) -> int:
    """Pure: a count; 0 where there is none, the largest for "max"."""
    text = text.strip()
    if text == "max":
        return 0xFFFFFFFFFFFFFFFF
    return int(text) if text.isdecimal() else 0


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _read(path: str) -> str:
    try:
        return plainfile.read(path).decode("ascii", "replace")
    except OSError:
        return ""
