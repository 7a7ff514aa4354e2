"""Context ids from the host's kernel, and connections to guests' ports.

The kernel of most machines that run tests gives guests no vsock device; its calls are stood in for.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from vctui.linux import probe, sockets, vsock

TAKEN = OSError(errno.EADDRINUSE, "taken")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "vhost-vsock"
    path.touch()
    monkeypatch.setattr(vsock, "DEVICE", path)
    return path


def answer(monkeypatch: pytest.MonkeyPatch, *errors: OSError | None) -> list[int]:
    """What the kernel says to one context id after the other; gives those that it was asked for."""
    asked: list[int] = []
    waiting = list(errors)

    def ioctl(_fd: int, request: int, argument: bytes) -> int:
        assert request == 0x4008AF60  # _IOW(VHOST_VIRTIO, 0x60, __u64)
        asked.append(struct.unpack("=Q", argument)[0])
        if waiting and (error := waiting.pop(0)):
            raise error
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return asked


def test_a_free_context_id_is_taken(device: Path, monkeypatch: pytest.MonkeyPatch):
    asked = answer(monkeypatch, TAKEN, TAKEN, None)
    guest = vsock.allocate()
    assert len(set(asked)) == 3
    assert guest.cid == asked[-1]
    assert all(3 <= cid < 2**32 - 1 for cid in asked)
    assert Path(f"/proc/self/fd/{guest.descriptor}").readlink() == device
    os.close(guest.descriptor)


@pytest.mark.parametrize(
    ("errors", "code"),
    [([TAKEN] * 2000, errno.EADDRINUSE), ([OSError(errno.EACCES, "no")], errno.EACCES)],
)
def test_nothing_is_held_where_none_is_to_be_had(
    device: Path, monkeypatch: pytest.MonkeyPatch, errors: list[OSError], code: int
):
    answer(monkeypatch, *errors)
    before = descriptors()
    with pytest.raises(OSError, match=r"taken|no") as refused:
        vsock.allocate()
    assert refused.value.errno == code
    assert descriptors() == before


def test_a_host_without_the_device_says_what_is_missing_and_what_to_do(
    device: Path, monkeypatch: pytest.MonkeyPatch
):
    assert vsock.problem() == ""
    device.unlink()
    monkeypatch.setattr(probe, "has_module", lambda _name: True)
    assert vsock.problem() == f"there is no {device}"
    assert vsock.remedy() == "run `modprobe vhost_vsock`"
    monkeypatch.setattr(probe, "has_module", lambda _name: False)
    assert vsock.problem().endswith("and this kernel has no module vhost_vsock")
    assert "CONFIG_VHOST_VSOCK" in vsock.remedy()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _has_vsock() -> bool:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_vsock(), reason="this kernel has no AF_VSOCK")
async def test_a_guest_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vsock, "_ANSWER", 0.2)
    before = descriptors()
    with pytest.raises(OSError):  # noqa: PT011 - kernels differ in what they say
        await vsock.dial("vsock://77777:1024")
    assert descriptors() == before


async def hybrid(path: Path, serve: Callable[[socket.socket], bytes]) -> asyncio.Task[None]:
    """Answer one client's first line."""
    loop = asyncio.get_running_loop()
    listening = sockets.listen(path)

    async def run() -> None:
        with listening:
            client, _ = await loop.sock_accept(listening)
            with client:
                assert await loop.sock_recv(client, 100) == b"CONNECT 1024\n"
                await loop.sock_sendall(client, serve(client))
                await loop.sock_recv(client, 1)

    return asyncio.create_task(run())


async def test_a_hybrid_socket_is_read_no_further_than_its_answer(tmp_path: Path):
    path = tmp_path / "h:1.sock"
    task = await hybrid(path, lambda _client: b"OK 5\nOK this is the agent's")
    with await vsock.dial(f"hvsock://{path}:1024") as client:
        assert await asyncio.get_running_loop().sock_recv(client, 100) == b"OK this is the agent's"
    await task


@pytest.mark.parametrize("said", [b"NO\n", b"O" * 100, b"OK" * 100])
async def test_any_other_answer_of_a_hybrid_socket_is_a_refusal(tmp_path: Path, said: bytes):
    path = tmp_path / "h.sock"
    task = await hybrid(path, lambda _client: said)
    with pytest.raises(ConnectionResetError):
        await sockets.connect_hybrid(path, 1024)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_silent_hybrid_socket_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "_HYBRID_ANSWER", 0.05)
    with sockets.listen(tmp_path / "h.sock"), pytest.raises(TimeoutError):
        await sockets.connect_hybrid(tmp_path / "h.sock", 1024)
