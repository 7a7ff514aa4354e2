"""The host kernel's own vsock: the context ids that it gives to guests, a QEMU that takes one, and
our own agent at one of its ports.

test_on_another_kernel runs these tests where there is such a kernel, without pytest's plug-ins."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.companions.test_vsock_link import GRPC, TTRPC, Guest, version
from tests.drivers.hypervisors.qemu.test_vsock import plan
from vctui.companions.monitor import vsock_link
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.drivers.hypervisors.qemu import vsock as device
from vctui.linux import vsock
from vctui.model.kinds import AgentProtocol, SocketType
from vctui.wire import monitor

LOCAL = 1
"""The context id of the kernel itself (VMADDR_CID_LOCAL), with the module vsock_loopback."""
FIRST = 3
"""The first context id that a guest may have; the kernel refuses others as invalid."""
WAIT = 60.0
FACE = {TTRPC: "vctui.protocol=ttrpc", GRPC: "vctui.protocol=grpc"}


def lacks_loopback() -> bool:
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as probe:
            probe.bind((LOCAL, socket.VMADDR_PORT_ANY))
    except OSError:
        return True
    return False


needs_device = pytest.mark.skipif(bool(vsock.problem()), reason="needs a kernel with vhost_vsock")
needs_loopback = pytest.mark.skipif(lacks_loopback(), reason="needs a kernel with vsock_loopback")


def listening() -> socket.socket:
    """At a free port of this kernel's."""
    made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    made.listen()
    made.setblocking(False)
    return made


def refused() -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, match="Invalid argument")


def descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


@contextmanager
def chosen(monkeypatch: pytest.MonkeyPatch, *cids: int) -> Iterator[list[int]]:
    """What chance gives for context ids; those that are left."""
    waiting = list(cids)
    with monkeypatch.context() as patched:
        patched.setattr(random, "randint", lambda _first, _last: waiting.pop(0))
        yield waiting


@needs_device
def test_each_guest_has_a_context_id_of_its_own_until_it_ends(monkeypatch: pytest.MonkeyPatch):
    before = descriptors()
    first = vsock.allocate()
    second_cid = first.cid - 1 if first.cid > FIRST else FIRST + 1
    with chosen(monkeypatch, first.cid, second_cid) as left:
        second = vsock.allocate()
    assert (second.cid, left) == (second_cid, [])
    with chosen(monkeypatch, first.cid, second.cid, FIRST - 1) as left, refused():
        vsock.allocate()  # taken, taken, and then one that no guest may have
    assert left == []
    os.close(first.descriptor)
    with chosen(monkeypatch, first.cid):
        again = vsock.allocate()
    assert again.cid == first.cid
    for guest in (second, again):
        os.close(guest.descriptor)
    assert descriptors() == before


@needs_device
def test_qemu_takes_the_context_id_that_was_kept_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It keeps the id as long as it runs, also when the engine has let go of it."""
    with device.opened(plan(tmp_path, SocketType.VSOCK)) as made:
        assert made is not None
        assert made.story == f"vsock by the host's kernel, as guest {made.cid}"
        command = (
            *("qemu-system-x86_64", "-machine", "q35", "-nodefaults", "-no-user-config"),
            *("-display", "none", "-S", "-monitor", "stdio", "-device"),
            f"vhost-vsock-pci,id=vsock,guest-cid={made.cid},vhostfd={made.descriptor}",
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        machine = subprocess.Popen(command, pass_fds=[made.descriptor], **pipes, text=True)
    try:
        assert machine.stdin is not None
        assert machine.stdout is not None
        machine.stdin.write("info qtree\n")
        machine.stdin.flush()
        said = ""
        while "guest-cid" not in said:
            said = machine.stdout.readline()
            assert said, machine.communicate(timeout=WAIT)
        assert said.split()[2] == str(made.cid)
        with chosen(monkeypatch, made.cid, FIRST - 1) as left, refused():
            vsock.allocate()
        assert left == []
    finally:
        machine.kill()
        machine.communicate(timeout=WAIT)
    with chosen(monkeypatch, made.cid):
        os.close(vsock.allocate().descriptor)


@needs_loopback
@pytest.mark.parametrize("protocol", [TTRPC, GRPC])
def test_an_agent_at_a_port_of_the_kernels_is_talked_to(tmp_path: Path, protocol: AgentProtocol):
    """By the monitor's link, which finds it when it comes, and with ttrpc without a proxy, too."""
    place = listening()
    url = f"vsock://{LOCAL}:{place.getsockname()[1]}"

    async def talk() -> str:
        warnings: list[str] = []
        link = vsock_link.make(protocol, tmp_path / monitor.PROXY, warnings.append)
        running = asyncio.create_task(link.run(adopting=False))
        try:
            async with asyncio.timeout(WAIT):
                link.reached_at(url)
                await link.ready()
                if protocol is TTRPC:
                    direct = KataAgent(timeout=WAIT)
                    await direct.connect(url, timeout=WAIT)
                    assert (await direct.info()).protocol == "ttrpc"
                    await direct.close()
                assert warnings == []
                return await version(link)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await link.close()

    guest = Guest(tmp_path, FACE[protocol], listening=place)
    try:
        said = asyncio.run(talk())
    finally:
        guest.end()
    assert said == {TTRPC: "3.30.0", GRPC: "1.12.1"}[protocol]


@needs_loopback
def test_a_port_that_nobody_listens_at_is_an_error():
    with listening() as place:
        url = f"vsock://{LOCAL}:{place.getsockname()[1]}"
    before = descriptors()
    with pytest.raises(ConnectionResetError):
        asyncio.run(vsock.dial(url))
    assert descriptors() == before
