"""Who serves a machine's vsock device: the host's kernel where it can, else a program of ours."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.hypervisors.qemu import vsock
from vctui.errors import HostProblem
from vctui.linux import process
from vctui.linux import vsock as host
from vctui.model.kinds import SocketType
from vctui.wire import vhost_user

WAIT = 20.0


def plan(run_dir: Path, socket_type: SocketType) -> MachinePlan:
    return machine_plan(run_dir, socket_type=socket_type)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose kernel gives context id 77."""
    device = tmp_path / "vhost-vsock"
    device.touch()

    def allocate() -> host.Guest:
        return host.Guest(77, os.open(device, os.O_RDONLY))

    monkeypatch.setattr(host, "problem", lambda: "")
    monkeypatch.setattr(host, "allocate", allocate)
    return device


def test_a_machine_whose_agent_has_a_serial_port_has_no_such_device(tmp_path: Path):
    with vsock.opened(plan(tmp_path, SocketType.UNIX)) as device:
        assert device is None


def test_the_hosts_kernel_serves_where_it_can(tmp_path: Path, kernel: Path):
    with vsock.opened(plan(tmp_path, SocketType.VSOCK)) as device:
        assert device is not None
        assert (device.cid, device.url) == (77, "vsock://77")
        assert device.story == "vsock by the host's kernel, as guest 77"
        assert Path(f"/proc/self/fd/{device.descriptor}").readlink() == kernel
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(device.descriptor)
    assert list(tmp_path.iterdir()) == [kernel]


def test_a_kernel_without_a_free_id_is_an_error(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
):
    def allocate() -> host.Guest:
        raise OSError(errno.EADDRINUSE, "no context id is free")

    monkeypatch.setattr(host, "allocate", allocate)
    with (
        pytest.raises(HostProblem, match="give pod 'web' a vsock device: Address already in use"),
        vsock.opened(plan(tmp_path, SocketType.VSOCK)),
    ):
        pass


@pytest.mark.vm
@pytest.mark.parametrize(("machine", "bus"), [("q35", "pci"), ("pc", "pci"), ("microvm", "device")])
def test_qemu_takes_the_kernels_device_as_far_as_there_is_one(machine: str, bus: str):
    """A descriptor of something else stands for it: all is well up to the first request to it."""
    with Path(os.devnull).open("rb") as nothing:
        number = nothing.fileno()
        said = subprocess.run(
            [
                *("qemu-system-x86_64", "-machine", machine, "-nodefaults", "-no-user-config"),
                *("-display", "none", "-S", "-device"),
                f"vhost-vsock-{bus},id=vsock,guest-cid=77,vhostfd={number}",
            ],
            pass_fds=[number],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT,
        )
    assert "vhost_set_owner failed: Inappropriate ioctl for device" in said.stderr


@pytest.mark.parametrize(
    ("socket_type", "why"),
    [
        (SocketType.VSOCK, ", as there is no /dev/vhost-vsock"),
        (SocketType.HYBRID, ""),
    ],
)
async def test_a_program_of_ours_serves_elsewhere_and_ends_with_the_machine(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch, socket_type: SocketType, why: str
):
    if why:
        monkeypatch.setattr(host, "problem", lambda: "there is no /dev/vhost-vsock")
    with vsock.opened(plan(tmp_path, socket_type)) as device:
        assert device is not None
        assert (device.cid, device.url) == (0, f"hvsock://{tmp_path / 'vsock.sock'}")
        assert device.story == f"vsock by vctui{why}"
        with socket.socket(fileno=os.dup(device.descriptor)) as ours:
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(WAIT):
                await loop.sock_sendall(ours, vhost_user.encode(vhost_user.Request.GET_FEATURES))
                assert len(await loop.sock_recv(ours, 100)) == 20
        assert len(process.find_by_argument(tmp_path)) == 1
    async with asyncio.timeout(WAIT):
        while process.find_by_argument(tmp_path):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert not (tmp_path / "vsock.sock").exists()
