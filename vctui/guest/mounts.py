"""Storages of a sandbox or a container (sheet §7.3), mounted with busybox:
starting it costs a tenth of what ctypes does.

In a guest that is going to be saved, the busybox of its first mount is started before it is saved,
and waits for the table of what to mount.
"""

from __future__ import annotations

import os
import time

from vctui.errors import AgentError
from vctui.guest.awaited import Awaited
from vctui.guest.loop import Cancelled
from vctui.guest.uevents import Uevents
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vctui.guest.children import Children, Exit
    from vctui.guest.config import Config
    from vctui.guest.loop import Future, Loop
    from vctui.wire.pb import agent_pb2 as agent

HANDLERS = ("9p", "virtio-fs", "blk", "scsi", "ephemeral", "local")
_MAX_ERROR = 1024
_OF_A_DISK = ("blk", "scsi")
_OF_A_DEVICE = ("9p", "virtio-fs")
_DEVICE_PATIENCE = 3.0
"""Seconds for the device of a share and its kernel modules to come, as a pod boots or is given
one (sheet §8: agent.hotplug_timeout)."""


class Mounts:
    """What is mounted where, for storages."""

    def __init__(self, loop: Loop, children: Children, config: Config) -> None:
        self._loop = loop
        self._children = children
        self._config = config
        self._mounted: dict[str, int] = {}
        """Mount point → how many ask for it."""
        self._disks: dict[str, str] = {}
        """Mount point → name of the disk there."""
        self._waiting: _Waiting | None = None

    def prepare(self) -> Callable[[], bool]:
        """Start the program of a mount that comes later.

        Gives what tells whether it has come to where it waits, or to its end.

        Raises:
            OSError: it cannot be started.
        """
        os.makedirs(self._config.run, mode=0o700, exist_ok=True)
        table = Awaited(f"{self._config.run}/fstab")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            pid, ended = self._children.spawn(
                self._config.busybox,
                ["busybox", "mount", "-i", "-a", "-T", table.path],
                {},
                dict.fromkeys(range(3), null),
            )
        finally:
            os.close(null)
        self._waiting = _Waiting(table, ended)
        return lambda: table.opened(self._config.proc, pid, ended)

    async def add(self, storages: Iterable[agent.Storage]) -> list[str]:
        """Make the storages available; gives their mount points, for `remove`.

        Raises:
            AgentError: one cannot be; those before it are taken back.
        """
        points: list[str] = []
        try:
            for storage in storages:
                await self._add(storage)
                points.append(storage.mount_point)
        except BaseException:
            await self.remove(points)
            raise
        return points

    async def remove(self, points: Iterable[str]) -> None:
        """Unmount, last first, what nobody else asks for.

        Raises:
            AgentError: a disk stays in use; the others are unmounted.
        """
        failure: AgentError | None = None
        for point in reversed(list(points)):
            self._mounted[point] = self._mounted.get(point, 1) - 1
            if self._mounted[point] <= 0:
                del self._mounted[point]
                await self._run("umount", "-l", point)
                if disk := self._disks.pop(point, ""):
                    from vctui.guest import blocks

                    try:
                        await blocks.wait_unused(self._loop, disk)
                    except AgentError as error:
                        failure = error
        if failure is not None:
            raise failure

    async def _add(self, storage: agent.Storage) -> None:
        point = storage.mount_point
        if not point.startswith("/") or ".." in point.split("/"):
            raise AgentError(
                f"a storage's mount point {point!r} is no absolute path",
                code=ttrpc.INVALID_ARGUMENT,
            )
        if storage.driver not in HANDLERS:
            raise AgentError(
                f"there is no storage driver {storage.driver!r} here; "
                f"there are {', '.join(HANDLERS)}",
                code=ttrpc.INVALID_ARGUMENT,
            )
        try:
            if storage.driver == "local":
                _make_folder(point, storage.options)
                return
            if point not in self._mounted:
                os.makedirs(point, exist_ok=True)
                try:
                    await self._mount(storage)
                except Cancelled:
                    await self._run("umount", "-l", point)
                    self._disks.pop(point, None)
                    raise
        except OSError as error:
            raise AgentError(f"storage {point}: {error.strerror}") from error
        self._mounted[point] = self._mounted.get(point, 0) + 1

    async def _mount(self, storage: agent.Storage) -> None:
        if storage.driver in _OF_A_DISK:
            await self._mount_disk(storage)
            return
        fstype = {"9p": "9p", "virtio-fs": "virtiofs", "ephemeral": "tmpfs"}[storage.driver]
        source, options = storage.source or fstype, ",".join(storage.options)
        if await self._use_waiting(source, storage.mount_point, fstype, options or "defaults"):
            return
        words = ["mount", "-i", "-t", fstype]
        if options:
            words += ["-o", options]
        words += [source, storage.mount_point]
        failed = await self._run(*words)
        if failed and storage.driver in _OF_A_DEVICE:
            until = time.monotonic() + _DEVICE_PATIENCE
            with Uevents(self._loop) as events:
                while failed := await self._run(*words):
                    if not await events.announced(until - time.monotonic()):
                        break
        if failed:
            raise AgentError(f"storage {storage.source} ({storage.driver}): {failed}")

    async def _use_waiting(self, *fields: str) -> bool:
        """Have the program that waits mount it. Where it does not, whoever does it now says why.

        Args:
            fields: of a line in a table of file systems (fstab(5)), the second is the mount point.
        """
        waiting = self._waiting
        if waiting is None or not all(map(_is_plain, fields)):
            return False
        self._waiting = None
        try:
            waiting.table.write((" ".join(fields) + "\n").encode())
        except OSError:  # it has ended
            return False
        try:
            await waiting.ended
        except Cancelled:  # as in _run
            await waiting.ended
            raise
        os.unlink(waiting.table.path)
        return os.path.ismount(fields[1])  # noqa: ASYNC240 - the kernel knows

    async def _mount_disk(self, storage: agent.Storage) -> None:
        from vctui.guest import blocks

        if not storage.fstype:
            raise AgentError(
                f"storage {storage.mount_point} does not say which file system it is",
                code=ttrpc.INVALID_ARGUMENT,
            )
        disk = await blocks.wait(
            self._loop, self._children, self._config, storage.driver, storage.source
        )
        options = ("-o", ",".join(storage.options)) if storage.options else ()
        words = ("-i", "-t", storage.fstype, *options, f"/dev/{disk.name}", storage.mount_point)
        if failed := await self._run("mount", *words):
            raise AgentError(f"storage {storage.mount_point} ({storage.driver}): {failed}")
        self._disks[storage.mount_point] = disk.name

    async def _run(self, *words: str) -> str:
        """Run a busybox applet; gives what it said if it failed."""
        errors, errors_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            fds = {0: null, 1: null, 2: errors_end}
            _, ended = self._children.spawn(self._config.busybox, ["busybox", *words], {}, fds)
            try:
                exit_: Exit = await ended
            except Cancelled:  # whoever undoes it must know what it has come to
                await ended
                raise
            if not exit_.code:
                return ""
            try:
                said = os.read(errors, _MAX_ERROR).decode(errors="replace").strip()
            except BlockingIOError:
                said = ""
            return said or f"{words[0]} failed with {exit_.code}"
        finally:
            for fd in (errors, errors_end, null):
                os.close(fd)


class _Waiting:
    """A program that reads a table of what to mount, which nobody has written yet."""

    def __init__(self, table: Awaited, ended: Future) -> None:
        self.table = table
        self.ended = ended


def _is_plain(field: str) -> bool:
    """Whether it stands in a line of a table as it is."""
    return bool(field) and not any(each.isspace() or each in "#\\" for each in field)


def _make_folder(path: str, options: Iterable[str]) -> None:
    """`mode=OCTAL` is the one option of a local storage."""
    os.makedirs(path, exist_ok=True)
    for option in options:
        key, _, value = option.partition("=")
        if key == "mode" and value and set(value) <= set("01234567"):
            os.chmod(path, int(value, 8) & 0o7777)
