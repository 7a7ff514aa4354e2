"""CopyFile: files, folders and links from the host into the share (sheet §7)."""

from __future__ import annotations

import os
import stat

from vctui.errors import AgentError
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vctui.wire.pb import agent_pb2 as agent


def copy(request: agent.CopyFileRequest, shared: str) -> None:
    """Write one piece of a file, or make a folder or link, below the folder `shared`.

    The file appears under its name when its last byte has come. No link on the way is followed.

    Raises:
        AgentError: the path is not below `shared`, or a folder on the way is none.
    """
    parts = request.path.removeprefix(shared).strip("/").split("/")
    if not request.path.startswith(f"{shared}/") or {"", ".", ".."} & set(parts):
        raise AgentError(
            f"{request.path!r} does not lie below {shared}", code=ttrpc.INVALID_ARGUMENT
        )
    if request.offset < 0 or request.file_size < 0:
        raise AgentError("a file has no negative size or offset", code=ttrpc.INVALID_ARGUMENT)
    try:
        os.makedirs(shared, exist_ok=True)
        folder = _folder(shared, parts[:-1], request.dir_mode & 0o7777 or 0o755)
        try:
            _place(request, folder, parts[-1])
        finally:
            os.close(folder)
    except OSError as error:
        raise AgentError(f"{request.path}: {error.strerror}") from error


def _folder(root: str, parts: list[str], mode: int) -> int:
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    for part in parts:
        try:
            try:
                below = os.open(part, flags, dir_fd=folder)
            except FileNotFoundError:
                os.mkdir(part, mode, dir_fd=folder)
                below = os.open(part, flags, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def _place(request: agent.CopyFileRequest, folder: int, name: str) -> None:
    kind, mode = stat.S_IFMT(request.file_mode), stat.S_IMODE(request.file_mode)
    if kind == stat.S_IFDIR:
        _make_folder(name, folder)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            os.fchmod(fd, mode)
            os.fchown(fd, request.uid, request.gid)
        finally:
            os.close(fd)
        return
    temporary = f".{name}.tmp"
    if kind == stat.S_IFLNK:
        _unlink(temporary, folder)
        os.symlink(request.data, os.fsencode(temporary), dir_fd=folder)
        os.chown(temporary, request.uid, request.gid, dir_fd=folder, follow_symlinks=False)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    if kind not in {0, stat.S_IFREG}:
        raise AgentError(
            f"{request.path!r}: only files, folders and links are copied",
            code=ttrpc.INVALID_ARGUMENT,
        )
    if request.offset == 0:
        _unlink(temporary, folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        at, rest = request.offset, memoryview(request.data)
        while rest:
            written = os.pwrite(fd, rest, at)
            at, rest = at + written, rest[written:]
        if at < request.file_size:
            return
        os.fchown(fd, request.uid, request.gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _make_folder(name: str, folder: int) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
