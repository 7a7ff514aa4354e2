from __future__ import annotations

import os
from pathlib import Path

import pytest

from vctui.linux import ioctls


def test_a_sealed_copy_cannot_be_changed_and_can_be_executed(tmp_path: Path) -> None:
    copy = ioctls.sealed_copy("/bin/true")
    try:
        assert copy >= 64
        assert os.pread(copy, 1 << 24, 0) == Path("/bin/true").read_bytes()
        with pytest.raises(PermissionError):
            os.pwrite(copy, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(copy, 0)
        pid = os.posix_spawn(f"/proc/self/fd/{copy}", ["true"], {})
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(copy)


def test_a_missing_file_is_an_error_and_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(FileNotFoundError):
        ioctls.sealed_copy("/no/such/file")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_pipe_grows() -> None:
    read_end, write_end = os.pipe()
    ioctls.grow_pipe(read_end, 256 * 1024)
    os.set_blocking(write_end, False)
    assert os.write(write_end, bytes(256 * 1024)) == 256 * 1024
    os.close(read_end)
    os.close(write_end)


def test_what_does_not_grow_is_no_error() -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    ioctls.grow_pipe(null, 256 * 1024)
    os.close(null)


def test_an_unknown_interface_is_an_error() -> None:
    with pytest.raises(OSError, match="No such device"):
        ioctls.interface_up("nosuchlink0")


@pytest.mark.root
def test_entropy_is_credited() -> None:
    ioctls.credit_entropy(os.urandom(64))
