# ruff: noqa: PTH100, PTH118, PTH120, PTH123 (the guest does without pathlib)
"""Mount, bind, unmount, and read what is mounted.

Bind mounts use open_tree(2) and move_mount(2) (Linux 5.12 with mount_setattr(2)):
all three work on file descriptors, so nobody can swap a path for a link in between,
and a read-only bind is read-only from its first moment.
Errors are plain OSError with the target as file name; callers say what it means.
Imports little: the guest ships this module too.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from vctui.linux.paths import opened_folder, opened_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Sequence

MS_RDONLY = 0x1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

_SET = {
    "ro": MS_RDONLY,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "sync": 0x10,
    "remount": MS_REMOUNT,
    "mand": 0x40,
    "dirsync": 0x80,
    "nosymfollow": 0x100,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "silent": 0x8000,
    "relatime": 0x200000,
    "strictatime": 0x1000000,
    "lazytime": 0x2000000,
}
_CLEAR = {
    "rw": MS_RDONLY,
    "suid": 0x2,
    "dev": 0x4,
    "exec": 0x8,
    "async": 0x10,
    "nomand": 0x40,
    "symfollow": 0x100,
    "atime": 0x400,
    "diratime": 0x800,
    "loud": 0x8000,
    "norelatime": 0x200000,
    "nostrictatime": 0x1000000,
    "nolazytime": 0x2000000,
}
_PROPAGATION = {
    "unbindable": 1 << 17,
    "private": 1 << 18,
    "slave": 1 << 19,
    "shared": 1 << 20,
}
_PROPAGATION.update({f"r{word}": flag | MS_REC for word, flag in list(_PROPAGATION.items())})

_MOUNT_ATTR = {"ro": 0x1, "nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "nosymfollow": 0x200000}
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE = 0x1
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_EMPTY_PATHS = 0x4 | 0x40
_MS_PRIVATE = 1 << 18


def parse_options(options: Iterable[str]) -> tuple[int, int, str]:
    """mount(8) words → flags, propagation flags (0 for none), and data for the file system.

    Later words win; a word that is no flag goes to the file system as it is.
    """
    flags = propagation = 0
    data = []
    for word in options:
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        elif word not in {"", "defaults"}:
            data.append(word)
    return flags, propagation, ",".join(data)


def mount(source: str, target: str, fstype: str = "", options: Sequence[str] = ()) -> None:
    """mount(8) without its helpers: `options` in its words, what is not known goes as data.

    A bind with further flags is remounted with them, as the kernel wants it.

    Raises:
        OSError: nothing stays mounted then.
    """
    flags, propagation, data = parse_options(options)
    _mount(source, target, fstype, flags, data)
    try:
        if flags & MS_BIND and flags & ~(MS_BIND | MS_REC):
            _mount("", target, "", (flags & ~MS_REC) | MS_REMOUNT, data)
        if propagation:
            _mount("", target, "", propagation, "")
    except OSError:
        if not flags & MS_REMOUNT:
            _libc().umount2(os.fsencode(target), MNT_DETACH)
        raise


def bind(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    read_only: bool = False,
    recursive: bool = False,
    options: Sequence[str] = (),
) -> None:
    """Show the folder or file `source` at `target` too.

    Links in `source` are resolved. `target` is made where it is missing; of its components
    below `root` (default: its own folder) none may be a symbolic link.
    The new mount propagates nowhere.

    Args:
        options: further words out of nosuid, nodev, noexec, nosymfollow.

    Raises:
        OSError: a path does not fit, or the kernel refuses (EPERM where not root).
        ValueError: `target` does not lie below `root`.
    """
    root, target = os.fspath(root or os.path.dirname(target)), os.fspath(target)
    folder, name = os.path.split(os.path.relpath(target, root))
    attributes = 0
    for word in (*options, *(("ro",) if read_only else ())):
        attributes |= _MOUNT_ATTR[word]
    origin = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        is_folder = stat.S_ISDIR(os.fstat(origin).st_mode)
        with opened_folder(root, folder, create=True) as parent:
            place = _make_target(parent, name, folder=is_folder)
        try:
            _bind(origin, place, attributes, target, recursive=recursive)
        finally:
            os.close(place)
    finally:
        os.close(origin)


def unmount(target: str | os.PathLike[str], *, lazy: bool = True) -> bool:
    """Take the topmost mount at `target` away; False if there was none.

    No component of `target` may be a symbolic link.

    Raises:
        OSError: EBUSY (only if not `lazy`), EPERM.
    """
    try:
        if not lazy:  # a descriptor of ours would keep the mount busy
            return _unmount(os.fspath(target), UMOUNT_NOFOLLOW, target)
        with opened_path(target) as found:
            return _unmount(f"/proc/self/fd/{found}", MNT_DETACH, target)
    except FileNotFoundError:
        return False


def parse_mountinfo(text: str) -> tuple[str, ...]:
    """Mount points out of /proc/PID/mountinfo, in the kernel's order (newest last).

    Lines that do not fit the format are left out.
    """
    points = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 10 and fields[4].startswith("/") and "-" in fields[6:]:
            points.append(unescape(fields[4]))
    return tuple(points)


def mounts_below(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What is mounted strictly below `path`, in an order in which it can be unmounted.

    Links in the folder that holds `path` are resolved; `path` itself is not followed.
    Something mounted twice at one place stands there twice.
    """
    folder, name = os.path.split(os.path.abspath(path))
    below = os.path.join(os.path.realpath(folder), name).rstrip("/") + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = parse_mountinfo(file.read())
    return tuple(point for point in reversed(points) if point.startswith(below))


def unmount_below(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Unmount lazily whatever is mounted below `path`; gives what was there.

    Raises:
        OSError: after the others were taken away.
    """
    failure: OSError | None = None
    points = mounts_below(path)
    for point in points:
        try:
            unmount(point)
        except OSError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return points


def unescape(field: str) -> str:
    r"""The kernel writes blank, tab, newline and backslash as `\ooo`."""
    if "\\" not in field:
        return field
    head, *rest = field.split("\\")
    return head + "".join(
        chr(int(part[:3], 8)) + part[3:]
        if len(part) >= 3 and set(part[:3]) <= set("01234567")
        else "\\" + part
        for part in rest
    )


def _make_target(parent: int, name: str, *, folder: bool) -> int:
    """A descriptor (O_PATH) of `name` in `parent`, made as an empty folder or file if missing."""
    with suppress(FileExistsError):
        if folder:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=parent))
    kind = os.O_DIRECTORY if folder else 0
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=parent)
    if stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return found


def _bind(origin: int, place: int, attributes: int, target: str, *, recursive: bool) -> None:
    import ctypes

    class MountAttr(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]

    nothing = ctypes.c_char_p(b"")
    deep = _AT_RECURSIVE if recursive else 0
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | deep
    tree = _syscall(target, _OPEN_TREE, origin, nothing, flags)
    try:
        wanted = MountAttr(set=attributes, propagation=_MS_PRIVATE)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        at = _AT_EMPTY_PATH | deep
        _syscall(target, _MOUNT_SETATTR, tree, nothing, at, ctypes.byref(wanted), size)
        _syscall(target, _MOVE_MOUNT, tree, nothing, place, nothing, _MOVE_MOUNT_EMPTY_PATHS)
    finally:
        os.close(tree)


def _mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    import ctypes

    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(fstype))
    if _libc().mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data)) != 0:
        raise _os_error(target)


def _unmount(path: str, flags: int, target: str | os.PathLike[str]) -> bool:
    if _libc().umount2(os.fsencode(path), flags) == 0:
        return True
    error = _os_error(target)
    if error.errno in {errno.EINVAL, errno.ENOENT}:
        return False
    raise error


def _syscall(target: str, number: int, *arguments: object) -> int:
    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        raise _os_error(target)
    return result


def _os_error(target: str | os.PathLike[str]) -> OSError:
    import ctypes

    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fspath(target))


def _libc() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
